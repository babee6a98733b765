"""Scoring of whole corpora, on this machine or on a Ray cluster.

python -m gradio_ui.recognition corpus photos/ --out scores/
python -m gradio_ui.recognition corpus s3://photos/shard-{000000..000999}.tar --engine ray --out s3://scores/photos

A corpus is cut into parts (`sources`); a worker scores a part (`worker`) and writes it as one parquet file, whole or
not at all (`parts`). Which machine a worker runs on is the engine's business (`engines`, `ray_engine`).
"""
