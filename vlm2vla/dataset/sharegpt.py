"""ShareGPT export: whole conversations as messages and images, as LLaMA-Factory reads them.

    OUT/conversations.json   JSON array of {id, messages: [{role, content}], images: [path]}
    OUT/dataset_info.json    describes it to LLaMA-Factory: dataset_dir=OUT dataset=vlm2vla
    OUT/images/...           each frame once

One conversation per subtask with all its levels over one image; trainers of this format put the loss on every
assistant turn. An `<image>` mark stands before the text of the turn that shows the image, one per path.
"""

import json
from collections.abc import Iterable

from vlm2vla.config import ExportConfig
from vlm2vla.dataset.conversations import Conversation, ExtraSamples, conversations, refuse_nothing
from vlm2vla.dataset.folder import ImageFiles, export_folder, hashes, write_manifest
from vlm2vla.dataset.manifest import Manifest, manifest_of
from vlm2vla.dataset.select import LabelledEpisode, Selection
from vlm2vla.language import prompt_hash

CONVERSATIONS = "conversations.json"
MARK = "<image>"
_DESCRIPTION = {
    "vlm2vla": {
        "file_name": CONVERSATIONS,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
}


def write_sharegpt(
    config: ExportConfig, items: Iterable[LabelledEpisode], extra: ExtraSamples | None = None
) -> Manifest:
    """Write conversations and their images to `config.out`.

    Args:
        config: Where to, and which labels.
        items: Labels and recordings; read once, one at a time.
        extra: Makes further samples from selected labels (`completed_sample`, `direction_sample`).

    Raises:
        ExportError: `config.out` is not empty or cannot be written, or nothing can be exported.
    """
    selection = Selection(config.include_unreviewed)
    samples = 0
    with export_folder(config.out) as folder:
        with ImageFiles(folder) as images, (folder / CONVERSATIONS).open("w", encoding="utf-8", newline="\n") as file:
            for conversation in conversations(items, selection, images, joined=True, extra=extra):
                if any(MARK in turn.text for turn in conversation.sample.turns):
                    selection.leave_out(f"text holds {MARK}", conversation.sample.id)
                    continue
                file.write(("[\n" if samples == 0 else ",\n") + json.dumps(_row(conversation), ensure_ascii=False))
                samples += 1
            file.write("\n]\n")
        refuse_nothing(samples, selection)
        (folder / "dataset_info.json").write_text(json.dumps(_DESCRIPTION, indent=2) + "\n")
        manifest = manifest_of(
            "sharegpt",
            selection,
            config=config,
            counts={"samples": samples, "images": images.count},
            read_with="LLaMA-Factory with dataset_dir=OUT and dataset=vlm2vla; "
            f'datasets.load_dataset("json", data_files="OUT/{CONVERSATIONS}")',
            units={"chunk": "as the action form says; see the first user turn"},
            extra=extra is not None,
            prompts=prompt_hash(),
            files=hashes(folder),
        )
        write_manifest(folder, manifest)
    return manifest


def _row(conversation: Conversation) -> dict[str, object]:
    messages = [{"role": turn.role, "content": MARK * turn.images + turn.text} for turn in conversation.sample.turns]
    return {"id": conversation.sample.id, "messages": messages, "images": list(conversation.paths)}
