"""Compose the page out of its tabs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware
from starlette.routing import Route

from gradio_ui.language import LANGUAGES, catalog, filled, speaking, t, text, translated
from gradio_ui.model_registry import Models
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.server.device_files import DeviceFiles
from gradio_ui.server.guard import Guard, GuardedBlocks, misfit
from gradio_ui.server.health import Health, WorkCount, health_of, report_health
from gradio_ui.server.link_preview import LinkPreview
from gradio_ui.server.mcp_files import agents_lifespan
from gradio_ui.server.metrics import report_metrics
from gradio_ui.server.session_guard import SessionGuard
from gradio_ui.server.temp_files import KEPT_MINUTES
from gradio_ui.settings import Settings
from gradio_ui.tabs import about, batch, image, video
from gradio_ui.tabs.about import about_tab
from gradio_ui.tabs.batch import batch_tab
from gradio_ui.tabs.image import image_tab
from gradio_ui.tabs.video import RATES, video_tab
from gradio_ui.tabs.webcam import webcam_tab
from gradio_ui.views import html as charts
from gradio_ui.views.static import STATIC, script
from gradio_ui.webcam.frames import MAX_REQUEST

# Of which Gradio keeps a state, 170 kB each; its own 10,000 took 1.7 GB, as each call without a session id makes one.
MAX_SESSIONS = 256


# A change of the model restarts the live session: ask before its results, or a recording, are lost.
CONFIRM = """(wanted, served) => {
  const save = document.querySelector("#webcam [data-do=csv]");
  const live = document.querySelector("#webcam .fer-cam")?.dataset.state === "live";
  const lost = live && save && !save.disabled;
  const ask = document.querySelector("#header dialog").dataset.restart;
  return [!lost || confirm(ask) ? wanted : null, served];
}"""


class ChoiceView(NamedTuple):
    """What the choice of a model changes: components in the layout, their new values in a handler."""

    choice: Any = gr.skip()
    notice: Any = gr.skip()
    model: Any = gr.skip()
    webcam: Any = gr.skip()
    on_device: Any = gr.skip()


def build_demo(models: Models, settings: Settings) -> gr.Blocks:
    """Build the page; nothing is loaded or served yet.

    Args:
        models: What a visitor may choose from; the default one is loaded.
        settings: What the app was started with.
    """
    health = Health(models, settings.drain_seconds)
    with GuardedBlocks(
        health, title=catalog("en")["page.title"], analytics_enabled=False
    ) as demo:  # `TempFiles` deletes what visitors leave
        model = gr.State(models.default)  # of this session, set once that model is loaded
        with gr.Row(equal_height=False, elem_id="top"):
            with gr.Column(scale=3, min_width=320):
                gr.HTML(text("page.html"), js_on_load=script("page.js"), elem_id="header", apply_default_css=False)
            with gr.Column(min_width=240, visible=len(models.names) > 1, elem_id="model-column"):
                choice = gr.Dropdown(models.choices, value=models.default, label=text("model.model"), elem_id="model")
        notice = gr.HTML(
            text("model.notice") if models[models.default].source.notice else "",
            apply_default_css=False,
            elem_id="model-notice",
        )
        with gr.Tabs(overflow_behavior="wrap"):  # on a phone the menu would hide most of them
            with gr.Tab(text("tab.image"), id="image", elem_id="tab-image"):
                on_device = image_tab(models, model, settings)
            with gr.Tab(text("tab.batch"), id="batch", elem_id="tab-batch"):
                batch_tab(models, model, settings)
            with gr.Tab(text("tab.webcam"), id="webcam", elem_id="tab-webcam"):
                webcam = webcam_tab(models, demo.metrics, settings.unclear_below)
            with gr.Tab(text("tab.video"), id="video", elem_id="tab-video"):
                video_tab(models, model, settings)
            with gr.Tab(text("tab.about"), id="about", elem_id="tab-about"):
                about_tab(models, model)

        choice.input(
            Chooser(models, webcam.props, on_device.props).choose,
            [choice, model],
            list(ChoiceView(choice, notice, model, webcam, on_device)),
            js=CONFIRM,
            show_progress="hidden",
            trigger_mode="once",
            concurrency_limit=8,  # nobody waits for somebody else's download
            api_visibility="private",
        )
    # Two pictures at a time keep two cores busy; past 32 waiting a visitor is told that the app is busy.
    return demo.queue(max_size=32, default_concurrency_limit=2)


class Chooser:
    """What the choice of a model does.

    Args:
        models: What a visitor may choose from.
        webcam, on_device: Props of the components whose scripts have to know the model.
    """

    def __init__(self, models: Models, webcam: dict[str, Any], on_device: dict[str, Any]) -> None:
        self._models = models
        self._scripted = webcam, on_device

    def choose(self, wanted: str | None, served: str) -> Iterator[ChoiceView]:
        """Load a model and switch the session to it; where it cannot be served, say why and keep the other."""
        if wanted is None:  # the change was called off
            yield ChoiceView(gr.Dropdown(value=served))
            return
        titles = {name: translated(title) for name, title in self._models.titles.items()}
        if not self._models.is_loaded(wanted):
            waiting = charts.message(
                "info",
                t("model.loading", model=titles.get(wanted, wanted)),
                t("model.until", model=titles.get(served, served)),
            )
            yield ChoiceView(gr.Dropdown(interactive=False), waiting)
        try:
            notice = model_notice(self._models, wanted)
        except RecognitionError as error:
            refused = charts.message(
                "error",
                t("model.refused", model=titles.get(wanted, wanted)),
                f"{translated(str(error))} {t('model.stays', model=titles.get(served, served))}",
            )
            yield ChoiceView(gr.Dropdown(value=served, interactive=True), refused)
        else:
            # All props, as Gradio would drop the others where the tab was never opened.
            webcam, on_device = (gr.HTML(**(props | {"model": wanted})) for props in self._scripted)
            yield ChoiceView(gr.Dropdown(interactive=True), notice, wanted, webcam, on_device)


def model_notice(models: Models, name: str) -> str:
    """Say what there is to say about where a model came from; mostly nothing."""
    notice = models[name].source.notice
    return charts.message("warning", t("model.offline"), translated(notice)) if notice else ""


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Do what is done while the server runs.

    Args:
        app: Gradio's FastAPI app.
    """
    async with agents_lifespan(app):
        with health_of(app).probing():
            yield


def purpose() -> str:
    """Say what the page is for."""
    return t("page.purpose", minutes=KEPT_MINUTES)


def texts_in(language: str, models: Models, settings: Settings) -> dict[str, str]:
    """Give all texts of a language, with those that the tabs show first."""

    def page(name: str) -> str:
        return filled((STATIC / name).read_text(encoding="utf-8"))

    with speaking(language):
        welcomes = {
            f"{tab.__name__.rpartition('.')[2]}.welcome": tab.welcome(settings) for tab in (image, batch, video)
        }
        rates = {
            f"video.rate.{rate}": t("video.per_second", count=rate) if rate else t("video.every") for rate in RATES
        }
        titles = {title: translated(title) for title in models.titles.values()}
        first = {
            "page.html": page("page.html").replace("{purpose}", escape(purpose())),
            "webcam.html": page("webcam.html"),
            "image_place.html": page("image_place.html").replace("{images}", page("device_images.html")),
            "model.notice": model_notice(models, models.default),
            "about.facts": about.texts(models, models.default)[0],
        }
    return {**catalog(language), **welcomes, **rates, **titles, **first}


def theme() -> gr.Theme:
    """Give the colors, corners and fonts of the page."""
    system = ("system-ui", "-apple-system", "Roboto", "sans-serif")  # no font is fetched from anywhere
    return gr.themes.Default(primary_hue="indigo", neutral_hue="slate", radius_size="lg", font=system).set(
        body_text_color_subdued="*neutral_500",  # Gradio's neutral_400 is too faint on white (WCAG AA)
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_600",  # white on primary_500 has 4.46:1
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_400",
    )


def launch_options(models: Models, settings: Settings) -> dict[str, Any]:
    """Give the arguments of `Blocks.launch`, where Gradio 6 takes look, limits, privacy and further routes."""
    runtime = Path(settings.runtime).expanduser() if settings.runtime else None
    routes = DeviceFiles(models, STATIC, runtime, settings.on_device).routes()
    routes += [Route("/health", report_health), *([Route("/metrics", report_metrics)] if settings.metrics else [])]
    return {
        "server_name": settings.host,
        "server_port": settings.port,
        "max_file_size": settings.max_file_size,
        "theme": theme(),
        "css_paths": [STATIC / "app.css"],
        "head": '<script src="device/page/language.js"></script>',
        "i18n": gr.I18n(**{language: texts_in(language, models, settings) for language in LANGUAGES}),
        "footer_links": ["api", "gradio"],
        "state_session_capacity": MAX_SESSIONS,
        "mcp_server": True,  # the documented endpoints are tools for agents, too
        "app_kwargs": {
            "lifespan": lifespan,
            "routes": routes,
            "middleware": [
                Middleware(WorkCount),
                Middleware(Guard),
                Middleware(SessionGuard, max_component=MAX_REQUEST),
                Middleware(LinkPreview, title=t("page.title"), description=purpose(), folder=STATIC),
            ],
            "exception_handlers": {RequestValidationError: misfit},
        },
        "ssr_mode": False,  # pages rendered by a Node server in front would come without the guard's headers
        "run_history": False,
        "enable_monitoring": False,
        "show_error": True,
    }
