"""Why a row of int8, bf16 or fp16 is faster than the float one, or is not: for each that was timed."""

import dataclasses
from typing import Any

import pytest
import torch

from qexplorer.engine.advice import advise_on
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.speed import explained, speed_sentence
from qexplorer.engine.measuring import latency
from qexplorer.engine.measuring.processor import FLAGS, instruction_sets
from qexplorer.engine.runs.results import Latency, Row, RunResult
from qexplorer.progress import finish
from tests import results
from tests.few_digits import few_digits

VNNI = "sse4_2 avx2 avx_vnni"


def ms(one: float, many: float) -> dict[str, Latency]:
    return {b: Latency(t, t, t) for b, t in (("1", one), ("64", many))}


def a_row(name: str, engine: str, times: dict[str, Latency], kind: str = "REAL") -> Row:
    return Row(name, kind, engine, 1, 1, 1.0, (0.9, 1.0), 1.0, 100, 0, times, 1)


def a_result(engine: str, one: float, many: float, *, isa: str = "", job: str = "ptq-static", **more: Any) -> RunResult:
    rows = (a_row("fp32", "float", ms(1.0, 10.0)), a_row("row", engine, ms(one, many)))
    findings = {"training_memory": None} if job == "qat" else {}
    return results.a_result(job, *rows, versions={"cpu": "DEFAULT", "isa": isa}, findings=findings, **more)


def said(*args: Any, **more: Any) -> str:
    result = a_result(*args, **more)
    return speed_sentence(result, result.rows[1])


LAYERS = [{"name": "a", "row": "row", "spec": "int8"}, {"name": "b", "row": "row", "spec": "float"},
          {"name": "a", "row": "other", "spec": "int8"}]  # fmt: skip


def test_a_faster_row_says_how_much_and_why() -> None:
    assert said("x86", 0.5, 2.5, isa=VNNI, layers=LAYERS) == (
        "Batch 1: 2.00 times as fast as the float model, batch 64: 4.00 times: 1 of its 2 layers compute in int8, "
        "whose weights take a quarter of the bytes, and this processor has int8 dot products (avx_vnni)."
    )


@pytest.mark.parametrize(
    ("isa", "part"),
    [
        (VNNI, "this processor has int8 dot products (avx_vnni), but at batch 1 what surrounds the arithmetic"),
        ("sse4_2 avx2", "no int8 dot products: with AVX2, three instructions multiply and add 32 int8 values where"),
        ("sse4_2 avx2 avx512_f", "no int8 dot products: with AVX2"),
        ("sse4_2 avx2 avx512_f avx512_vnni", "has int8 dot products (avx512_vnni)"),
        ("neon dot i8mm", "has int8 dot products (dot, i8mm)"),
        ("neon", "this processor has no int8 dot products."),
        ("", "it is not known whether this processor has int8 dot products"),
    ],
)
def test_a_slower_row_of_int8_is_explained_by_what_the_processor_has(isa: str, part: str) -> None:
    assert part in said("x86", 1.2, 4.0, isa=isa)


def test_a_cast_is_explained_too() -> None:
    slow = said("cpu fp16", 2.3, 20.0, isa="sse4_2 avx2 avx512_bf16", job="cast", spec={"kept": ["a", "b"]})
    assert slow.startswith("Batch 1: 0.43 times as fast as the float model, batch 64: 0.50 times: its layers")
    assert "but for 2 in float32" in slow
    assert slow.endswith("no arithmetic in fp16, so values are converted to float32 and back.")
    assert "(avx512_bf16), but what surrounds the arithmetic" in said("cpu bf16", 2.3, 20.0, isa="avx512_bf16")
    assert "this processor has arithmetic in bf16 (avx512_bf16)." in said("cpu bf16", 0.5, 5.0, isa="avx512_bf16")
    assert "timed on cuda:0, and the float model on the CPU" in said("cuda:0 bf16", 0.5, 5.0)


def test_only_real_rows_that_were_timed_have_a_sentence() -> None:
    result = a_result("x86", 0.5, 2.5)
    assert speed_sentence(result, result.rows[0]) == ""
    simulated = a_row("row", "cpu", ms(1.0, 1.0), "SIMULATED")
    untimed = a_row("row", "x86", {})
    for row in (simulated, untimed):
        assert speed_sentence(dataclasses.replace(result, rows=(result.rows[0], row)), row) == ""


def test_the_sentence_joins_the_note() -> None:
    result = a_result("x86", 0.5, 2.5)
    row = dataclasses.replace(result.rows[1], note="Stayed float32: head.")
    fp32, own = explained(dataclasses.replace(result, rows=(result.rows[0], row))).rows
    assert (fp32.note, own.note) == ("", f"Stayed float32: head. {speed_sentence(result, result.rows[1])}")


def test_another_engine_is_tried_by_the_job_that_has_engines_and_nothing_else_changes() -> None:
    for job in ("ptq-static", "ptq-dynamic"):
        (advice,) = advise_on(a_result("x86", 1.2, 4.0, isa=VNNI, job=job))
        assert advice.sentence.startswith("row: Batch 1: 0.83 times as fast")
        assert (advice.job, advice.settings) == (job, {"engine": "onednn"})
    for job, engine, isa in (("qat", "x86", VNNI), ("cast", "cpu fp16", VNNI), ("ptq-static", "onednn", VNNI),
                             ("ptq-static", "qnnpack", "neon dot")):  # fmt: skip
        (advice,) = advise_on(a_result(engine, 1.2, 4.0, isa=isa, job=job))
        assert (advice.remedy, advice.job) == ("", "")
    assert advise_on(a_result("x86", 0.5, 4.0)) == []


def test_the_flags_of_this_machine_are_those_that_torch_finds() -> None:
    found = instruction_sets().split()
    assert set(found) <= set(FLAGS)
    assert ("avx2" in found) == bool(torch.cpu.get_capabilities().get("avx2"))


def test_every_real_row_of_a_run_that_was_timed_has_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST", 3)
    small: dict[str, Any] = {"model": "vit_digits", "data": few_digits(), "limit": 8, "threads": 1}
    result = finish(jobs["cast"](**small, to="fp16", calibration=8).run())
    assert " times as fast as the float model, batch 64: " in result.rows[1].note
    assert result.versions["isa"] == instruction_sets()
