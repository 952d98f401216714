"""Train a spiking classifier with optax, save as it goes, stop, and go on where it stopped.

Run ``pip install -e '.[examples,train]'`` and ``python examples/train.py``. To see that a run that
was stopped ends with the same numbers, to the bit::

    python examples/train.py --folder one
    python examples/train.py --folder two --stop-after 60
    python examples/train.py --folder two --resume

Each ends with a fingerprint of all that was trained, and with a figure in the folder.

Reference: E. O. Neftci, H. Mostafa and F. Zenke, Surrogate gradient learning in spiking neural
networks, IEEE Signal Processing Magazine 36 (2019).
"""

import argparse
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import brainunit as u
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import safetensors.flax

import brainir

IN, HIDDEN, CLASSES = 40, 64, 4
TIMES, BATCH = 50, 32


class Readout(brainir.nn.Dynamics):
    """Units that sum what they are given and leak."""

    def init_state(self, batch_size: int) -> None:
        self.sum = brainir.HiddenState(jnp.zeros((batch_size, *self.varshape)))

    def reset_state(self, batch_size: int) -> None:
        self.sum.value = jnp.zeros((batch_size, *self.varshape))

    def update(self, x: Any) -> Any:
        self.sum.value = 0.95 * self.sum.value + x
        return self.sum.value


class Training:
    """A model, its optimiser, and all else that a run is made of: what `kept` lists is saved."""

    def __init__(self, steps: int):
        weights = brainir.init.KaimingNormal(scale=20.0, unit=u.mA)
        self.net = brainir.nn.Sequential(
            brainir.nn.Linear(IN, HIDDEN, w_init=weights, b_init=None),
            brainir.nn.LIF(HIDDEN, tau=10.0 * u.ms),
            brainir.nn.Linear(HIDDEN, CLASSES),
            Readout(CLASSES),
        )
        brainir.nn.init_all_states(self.net, BATCH)
        self.rates = brainir.State(0.3 * brainir.random.rand(CLASSES, TIMES, IN) ** 3)
        self.weights = self.net.states(brainir.ParamState)
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(1e-2, steps))
        )
        self.moments = brainir.State(self.optimizer.init(self.weights.to_dict_values()))
        self.losses = brainir.State(jnp.zeros(steps))
        self.kept = {
            "net": self.net,
            "rates": self.rates,
            "moments": self.moments,
            "losses": self.losses,
            "random": brainir.random.DEFAULT,
        }
        self.run = brainir.transform.jit(self._run)
        self.accuracy = brainir.transform.jit(self._accuracy)

    def draw(self) -> tuple[Any, Any]:
        """Draw spikes of shape (TIMES, BATCH, IN) and their classes; others at every call."""
        classes = brainir.random.randint(0, CLASSES, BATCH)
        rates = jnp.moveaxis(self.rates.value[classes], 0, 1)
        return (brainir.random.rand(TIMES, BATCH, IN) < rates).astype(jnp.float32), classes

    def scores(self, spikes: Any) -> Any:
        """Show spikes to the model, which starts at rest, and return the scores of the classes."""
        brainir.nn.reset_all_states(self.net, BATCH)
        return brainir.transform.for_loop(self.net, spikes).mean(axis=0)

    def step(self, index: Any) -> Any:
        """Go one step down the gradient, and note the loss."""
        spikes, classes = self.draw()

        def loss() -> Any:
            scores = self.scores(spikes)
            return optax.softmax_cross_entropy_with_integer_labels(scores, classes).mean()

        gradients, value = brainir.transform.grad(loss, self.weights, return_value=True)()
        before = self.weights.to_dict_values()
        updates, self.moments.value = self.optimizer.update(gradients, self.moments.value, before)
        after: Any = optax.apply_updates(before, updates)
        self.weights.assign_dict_values(after)
        self.losses.value = self.losses.value.at[index].set(value)

    def _run(self, indices: Any) -> None:
        """Train for several steps; they are one compiled program."""
        brainir.transform.for_loop(self.step, indices)

    def _accuracy(self) -> Any:
        spikes, classes = self.draw()
        return (self.scores(spikes).argmax(axis=-1) == classes).mean()


def fingerprint(kept: Any) -> str:
    """Return a text that differs if one bit of what is kept does."""
    digest = hashlib.sha256()
    for name, array in brainir.graph.state_arrays(kept).items():
        digest.update(name.encode() + np.asarray(array).tobytes())
    return digest.hexdigest()[:16]


def with_bar(chunks: Sequence[int], shown: bool) -> Iterable[int]:
    """Iterate with a bar that says how far it is."""
    if not shown:
        return chunks
    from tqdm import tqdm

    return tqdm(chunks, desc="training", unit="chunk")


def draw_losses(losses: Any, folder: Path) -> None:
    """Save a figure of the losses."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(losses)
    axes.axhline(np.log(CLASSES), color="gray", linestyle="--", label="chance")
    axes.set(xlabel="step", ylabel="cross entropy")
    axes.legend()
    figure.tight_layout()
    path = folder / "train.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"figure: {path}")


def train(asked: argparse.Namespace) -> str:
    """Run as asked, and return the fingerprint of the end."""
    brainir.random.seed(0)
    training = Training(asked.steps)
    folder = asked.folder.absolute()
    options = ocp.CheckpointManagerOptions(max_to_keep=2)
    with ocp.CheckpointManager(folder / "checkpoints", options=options) as manager:
        first = 0
        if asked.resume:
            first = manager.latest_step()
            if first is None:
                raise SystemExit(f"nothing was saved in {folder}: run without --resume first")
            like = brainir.graph.state_arrays(training.kept)
            arrays = manager.restore(first, args=ocp.args.StandardRestore(like))
            brainir.graph.set_state_arrays(training.kept, arrays)
        elif manager.latest_step() is not None:
            raise SystemExit(f"{folder} has a run: give --resume, or another --folder")
        last = asked.steps if asked.stop_after is None else min(asked.stop_after, asked.steps)
        chunks, done = range(first, last, asked.save_every), first
        for start in with_bar(chunks, not asked.quiet):
            done = min(start + asked.save_every, asked.steps)
            training.run(jnp.arange(start, done))
            arrays = brainir.graph.state_arrays(training.kept)
            manager.save(done, args=ocp.args.StandardSave(arrays))  # goes on while we train
    shown = np.asarray(training.losses.value)[:done]
    weights = brainir.graph.state_arrays(training.net, brainir.ParamState)
    safetensors.flax.save_file(weights, folder / "weights.safetensors")
    result = fingerprint(training.kept)
    print(f"step {done}: loss {shown[-1]:.6f}, fingerprint {result}")
    print(f"accuracy on new patterns: {float(training.accuracy()):.3f} (chance {1 / CLASSES})")
    if not asked.quiet:
        draw_losses(shown, folder)
    return result


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description="Train a spiking classifier; stop and resume.")
    parser.add_argument("--steps", type=int, default=200, help="steps of training")
    parser.add_argument("--save-every", type=int, default=20, help="steps between checkpoints")
    parser.add_argument("--stop-after", type=int, help="stop at the first checkpoint from here on")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--folder", type=Path, default="figures", help="for all that is written")
    parser.add_argument("--quiet", action="store_true", help="no bar and no figure")
    with brainir.environ.context(dt=1.0 * u.ms):
        return train(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
