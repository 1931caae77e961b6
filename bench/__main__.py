"""`python -m bench`: every benchmark, one after the other; `python -m bench rlds labels` only these."""

import sys

from bench import fuzz, labels, link, models, policy, rlds, rollouts, store, studio, training

BENCHES = {
    "rlds": rlds.main,
    "labels": labels.main,
    "store": lambda: store.main([]),
    "studio": studio.main,
    "fuzz": fuzz.main,
    "link": link.main,
    "rollouts": rollouts.main,
    "models": models.main,
    "policy": policy.main,
    "training": training.main,
}


def main(names: list[str]) -> None:
    """Run the benches called `names`, or all of them."""
    for name in names or BENCHES:
        print(f"== {name}", flush=True)
        BENCHES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
