"""Make the picture and the icon that a link to the page shows: `python -m gradio_ui.views.preview`.

The picture is of the example portrait, a NASA photograph in the public domain.
"""

from __future__ import annotations

import numpy as np

from gradio_ui.recognition.palette import COLORS
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.views.examples import example_images
from gradio_ui.views.face_labels import annotate
from gradio_ui.views.static import STATIC

SIZE = (1200, 630)  # pixels, as Open Graph's readers crop it
ICON = 64  # pixels
MODEL = STATIC.parents[1] / "model_card" / "fer2013"


def main() -> None:
    """Write static/preview.jpg, a portrait with its result, and static/icon.png, a smile in a box."""
    from PIL import Image, ImageDraw

    recognizer = EmotionRecognizer.from_pretrained(MODEL)
    portrait = Image.fromarray(example_images()["portrait"]).resize((1200, 1200), Image.Resampling.LANCZOS)
    portrait = portrait.crop((0, 0, *SIZE))
    frame = np.asarray(portrait)
    Image.fromarray(annotate(frame, recognizer(frame))).save(STATIC / "preview.jpg", quality=85)

    icon = Image.new("RGBA", (4 * ICON, 4 * ICON))
    draw = ImageDraw.Draw(icon)
    draw.rounded_rectangle((8, 8, 247, 247), 48, outline=COLORS["happy"], width=24)
    for x in (88, 168):
        draw.ellipse((x - 16, 80, x + 16, 112), fill=COLORS["happy"])
    draw.arc((68, 76, 188, 196), 25, 155, fill=COLORS["happy"], width=22)
    icon.resize((ICON, ICON), Image.Resampling.LANCZOS).save(STATIC / "icon.png")


if __name__ == "__main__":
    main()
