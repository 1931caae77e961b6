"""What transformers and peft do by themselves, to compare with."""

import io

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from vlm2vla.vlm.local.prompt import as_chat


class Reference:
    """A model loaded plainly, asked by `generate` and by one forward pass."""

    def __init__(self, folder, adapter=None):
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        if adapter is not None:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, adapter).eval()

    def inputs(self, messages, answer=""):
        text = self.processor.apply_chat_template(as_chat(messages), add_generation_prompt=True) + answer
        images = [Image.open(io.BytesIO(part.data)).convert("RGB") for message in messages for part in message.images]
        return self.processor(
            text=[text], images=[images] if images else None, return_tensors="pt", add_special_tokens=False
        )

    def generate(self, messages, count):
        """(ids, logprobs) of a greedy answer."""
        inputs = self.inputs(messages)
        with torch.no_grad():
            out = self.model.generate(
                **inputs, max_new_tokens=count, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
        ids = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        rows = [float(row[0].log_softmax(-1)[token]) for row, token in zip(out.logits, ids, strict=True)]
        return ids, rows

    def score(self, messages, answer):
        """Logprobs of the answer's tokens, by one forward pass without a cache."""
        before, inputs = self.inputs(messages)["input_ids"].shape[1], self.inputs(messages, answer)
        with torch.no_grad():
            rows = self.model(**inputs).logits[0].log_softmax(-1)
        ids = inputs["input_ids"][0].tolist()
        return [float(rows[place - 1, ids[place]]) for place in range(before, len(ids))]
