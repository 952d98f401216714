"""What the records of ops say: their docs, and their costs against counts of our own."""

from __future__ import annotations

import re
from collections import Counter
from math import log2, prod

import numpy as np
import pytest
from op_samples import all_samples
from structured_samples import structured_samples

from brainir.frontend.testing.op_laws import run_numpy
from brainir.ir import Weight, all_ops
from brainir.testing import Sample

OPS = [op for op in all_ops() if not op.opaque]
SAMPLES = [*all_samples(0), *structured_samples(0)]

# --- docs -----------------------------------------------------------------------------------------

BEGINNING = re.compile(r"[A-Z]|x\b|re \+|-?\d")
"""A sentence begins with a capital letter, or with the operand or number that it speaks of."""


def faults_of(doc: str) -> list[str]:
    """Say what keeps a doc from being one or more full sentences."""
    faults = []
    if not BEGINNING.match(doc):
        faults.append("begins with a small letter")
    if not re.search(r"\w[)`}|\[\]]*\.$", doc):
        faults.append("does not end with a full stop after a word")
    if re.search(r"\s\s|\n|\s$|^\s|---|\w- | ,| \.\s|\.\.$", doc):
        faults.append("was damaged")
    if any(doc.count(a) != doc.count(b) for a, b in ("()", "{}", "[]")) or doc.count("`") % 2:
        faults.append("leaves something open")
    return faults


def test_every_op_says_what_it_means_in_full_sentences_of_its_own() -> None:
    faults = {op.name: faults_of(op.doc) for op in OPS}
    assert not {name: found for name, found in faults.items() if found}
    sentences = Counter(sentence for op in OPS for sentence in re.split(r"(?<=\.)\s+", op.doc))
    assert [sentence for sentence, times in sentences.items() if times > 1] == []


def test_no_doc_holds_that_of_another_op() -> None:
    """As it does where two rows of a table have run together."""
    bare = {op.name: op.doc.rstrip(".") for op in OPS}
    for name, doc in bare.items():
        held = [other for other, text in bare.items() if other != name and f"{text}." in doc]
        assert not held, f"the doc of {name} holds those of {held}"


@pytest.mark.parametrize(
    "doc", ["sine.", "Sine", "Sine. cosine -----.", "Sine (of x.", "Sine ..", "Sine  of x."]
)
def test_a_doc_that_is_no_sentence_is_noticed(doc: str) -> None:
    assert faults_of(doc)


# --- costs ----------------------------------------------------------------------------------------

PRODUCTS = {"dot_general", "conv_general_dilated"}
PRODUCTS |= {"csr_to_columns", "csr_to_rows", "csr_to_connections"}
DRAWN = {"seeded_to_columns", "seeded_to_rows"}
SORTS = {"sort", "top_k"}
REDUCTIONS = {f"reduce_{name}" for name in ("sum", "prod", "max", "min", "and", "or", "xor")}
REDUCTIONS |= {"argmax", "argmin", "sum_lanes"}
SCANS = {f"cum{name}" for name in ("sum", "prod", "max", "min", "logsumexp")}
MOVES = {"gather", "gather_lanes", "dynamic_slice", "dynamic_update_slice", "scatter"}
UPDATES = {f"scatter-{name}" for name in ("add", "mul", "min", "max")}
HASHES = {"random_bits", "random_split", "random_fold_in", "threefry2x32"}
ROUNDS = 20 * 5
"""What a hash of two words does: 20 rounds of about 5 operations."""

FEW = 4
"""How many operations for an element an op may count that fuses into its consumer."""


def counted(sample: Sample) -> tuple[float, float]:
    """Return how many operations a sample does at least and at most, from what it does."""
    given = sum(t.size for t in sample.types)
    made = sum(t.size for t in sample.result_types)
    if sample.name in PRODUCTS:
        # Of ones, each product is 1, and the sum of all results is the number of products.
        ones = sample.with_operands([np.ones_like(a) for a in sample.operands])
        products = float(np.abs(run_numpy(ones)[0].astype(np.complex128)).sum())
        beyond_the_edge = 1.0 if sample.name == "dot_general" else 4.0
        return 2 * products, 2 * products * beyond_the_edge
    if sample.name in DRAWN:
        # Of all pairs of rows and columns, each target is drawn and then gone to by all lanes.
        targets = sample.types[0].shape[-1] * sample.result_types[0].shape[-1]
        targets, lanes = targets * sample.attrs["probability"], sample.types[0].shape[:-1]
        return targets, (targets + 1) * (prod(lanes) + 2 * ROUNDS)
    if sample.name in SORTS:
        size = sample.types[0].size
        comparisons = size * log2(max(size, 2))
        return comparisons / 2, 2 * (comparisons + size)
    if sample.name in REDUCTIONS:
        return given - made, given
    if sample.name in SCANS:
        return given - made, max(given, given * log2(max(given, 2)))
    if sample.name in UPDATES:
        return 0, sample.types[-1].size
    if sample.name in HASHES:
        return made * ROUNDS / 2, 2 * made * ROUNDS
    return made, FEW * made


@pytest.mark.parametrize("name", list(dict.fromkeys(sample.name for sample in SAMPLES)))
def test_operations_are_as_many_as_counted(name: str) -> None:
    for sample in SAMPLES:
        if sample.name == name:
            cost = sample.op.cost(sample.types, sample.result_types, sample.attrs)
            least, most = counted(sample)
            if cost.weight is Weight.FREE or name in MOVES:
                least = most = 0
            assert least <= cost.flops <= most, f"{sample}: {cost.flops}, not {least} to {most}"


def test_what_is_heavy_is_so_named() -> None:
    """An op that is not counted here by itself is elementwise, or free."""
    alone = PRODUCTS | DRAWN | SORTS | REDUCTIONS | SCANS | UPDATES | HASHES | MOVES
    for sample in SAMPLES:
        cost = sample.op.cost(sample.types, sample.result_types, sample.attrs)
        assert (cost.weight is Weight.HEAVY) == (sample.name in alone), sample.name
