"""trl export: prompt and completion with images, for `SFTTrainer` of trl 1.16.

    OUT/metadata.jsonl   one row per answer
    OUT/images/...       each frame once
    datasets.load_dataset("imagefolder", data_dir=OUT)  ->  images (decoded), prompt, completion, id, level, ...

One row per answer, not per conversation: the loss of prompt/completion rows falls on the completion alone, and a
completion can be one assistant turn only; `messages` with a loss on assistant turns needs chat templates with
generation marks, which Gemma's has not. Contents are plain strings: trl sets the image places itself, before the
first user message, which is where the dialogue shows them. Plan and chunk rows start from the image and the current
subtask, as the live policy asks for them in every cycle.
"""

import json
from collections.abc import Iterable

from vlm2vla.config import ExportConfig
from vlm2vla.dataset.conversations import Conversation, ExtraSamples, conversations, refuse_nothing
from vlm2vla.dataset.folder import ImageFiles, export_folder, hashes, write_manifest
from vlm2vla.dataset.manifest import Manifest, manifest_of
from vlm2vla.dataset.samples import rows_of
from vlm2vla.dataset.select import LabelledEpisode, Selection
from vlm2vla.language import Turn, prompt_hash

ROWS = "metadata.jsonl"


def write_trl(config: ExportConfig, items: Iterable[LabelledEpisode], extra: ExtraSamples | None = None) -> Manifest:
    """Write prompt/completion rows and their images to `config.out`.

    Args:
        config: Where to, and which labels.
        items: Labels and recordings; read once, one at a time.
        extra: Makes further samples from selected labels (`completed_sample`, `direction_sample`).

    Raises:
        ExportError: `config.out` is not empty or cannot be written, or nothing can be exported.
    """
    selection = Selection(config.include_unreviewed)
    rows, samples = 0, 0
    levels: dict[str, int] = {}
    with export_folder(config.out) as folder:
        with ImageFiles(folder) as images, (folder / ROWS).open("w", encoding="utf-8", newline="\n") as file:
            for conversation in conversations(items, selection, images, joined=False, extra=extra):
                samples += 1
                for row in _rows(conversation):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    levels[row["level"]] = levels.get(row["level"], 0) + 1
                    rows += 1
        refuse_nothing(rows, selection)
        manifest = manifest_of(
            "trl",
            selection,
            config=config,
            counts={
                "samples": samples,
                "rows": rows,
                "images": images.count,
                **{f"rows: {name}": number for name, number in levels.items()},
            },
            read_with='datasets.load_dataset("imagefolder", data_dir=OUT, split="train")',
            units={"chunk": "as the action form says; see the column action_form and the prompt"},
            extra=extra is not None,
            prompts=prompt_hash(),
            files=hashes(folder),
        )
        write_manifest(folder, manifest)
    return manifest


def _rows(conversation: Conversation) -> Iterable[dict[str, object]]:
    sample = conversation.sample
    for level, prompt, answer in rows_of(sample):
        yield {
            "id": f"{sample.id}/{level}",
            "file_names": list(conversation.paths),  # the loader turns this column into `images`
            "prompt": [_message(turn) for turn in prompt],
            "completion": [_message(answer)],
            "level": level,
            "kind": sample.kind,
            **sample.meta,
        }


def _message(turn: Turn) -> dict[str, str]:
    return {"role": turn.role, "content": turn.text}
