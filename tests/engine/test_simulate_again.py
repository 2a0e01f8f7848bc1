"""A simulation done again gives the same bits, and one that was stopped goes on from its last layer."""

import pytest
import torch
from small_nets import batches, same_bits, simulated

from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.simulate import Plan, simulate
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = "cle,gptq,bias_correction"


@pytest.mark.parametrize("kind", ["traced", "hooked"])
@pytest.mark.parametrize("steps", ["gptq,bias_correction", "adaround:30"])
def test_the_same_settings_give_the_same_bits(kind: str, steps: str, request: pytest.FixtureRequest) -> None:
    model: Prepared = request.getfixturevalue(kind)
    first, second = (simulated(model, "int3 channel:0", "uint8 affine", steps=steps) for _ in range(2))
    assert same_bits(first, second)
    assert first.layers == second.layers


@pytest.mark.parametrize("kind", ["traced", "hooked"])
@pytest.mark.parametrize("after", ["Quantizing deep", "Bias correction mix", "Quantizing head"])
def test_it_goes_on_from_the_last_finished_layer(kind: str, after: str, request: pytest.FixtureRequest) -> None:
    model: Prepared = request.getfixturevalue(kind)
    plan = Plan(Recipe.parse("int3 channel:0", "uint8 affine", ""), parse_repairs(STEPS), batches())
    whole = finish(simulate(model, plan, Journal(), "a"))
    journal = Journal()
    steps = simulate(model, plan, journal, "a")
    while not next(steps).phase.startswith(after):
        pass
    steps.close()
    assert torch.is_grad_enabled()
    done = [name for name in model.layers if journal.arrays(f"layer/a/{name}") is not None]
    names = list(model.layers)
    assert done == names[: names.index(after.rpartition(" ")[2])]
    phases: list[str] = []
    resumed = finish(simulate(model, plan, journal, "a"), lambda step: phases.append(step.phase))
    assert same_bits(resumed, whole)
    assert resumed.layers == whole.layers
    mended = {phase.removeprefix("GPTQ ") for phase in phases if phase.startswith("GPTQ")}
    assert mended == set(names) - set(done)
    other = finish(simulate(model, plan, journal, "b"))
    assert same_bits(other, whole)


def test_it_goes_on_from_what_the_run_history_has(traced: Prepared, history: History) -> None:
    run_id = history.start("a", {})
    plan = Plan(Recipe.parse("int3 channel:0", "", ""), parse_repairs("gptq,bias_correction"), batches())
    steps = simulate(traced, plan, history.journal(run_id), "a")
    while next(steps).phase != "Quantizing hidden":
        pass
    steps.close()
    phases: list[str] = []
    again = History(history.path).journal(run_id)
    resumed = finish(simulate(traced, plan, again, "a"), lambda step: phases.append(step.phase))
    whole = finish(simulate(traced, plan))
    assert same_bits(resumed, whole)
    assert resumed.layers == whole.layers
    assert {phase for phase in phases if phase.startswith("GPTQ")} == {"GPTQ hidden", "GPTQ head"}


def test_a_finished_layer_is_not_taken_for_one_of_another_row(traced: Prepared) -> None:
    journal = Journal()
    for key, text in (("w4", "int4"), ("w2", "int2")):
        plan = Plan(Recipe.parse(text, "", ""), parse_repairs("gptq"), batches())
        found = finish(simulate(traced, plan, journal, key))
        assert same_bits(found, finish(simulate(traced, plan)))


def test_the_fraction_never_falls(traced: Prepared) -> None:
    fractions: list[float] = []
    plan = Plan(Recipe.parse("int4 channel:0", "uint8 affine", ""), parse_repairs("cle,adaround:40"), batches())
    finish(simulate(traced, plan), lambda step: fractions.append(step.fraction or 0.0))
    assert fractions == sorted(fractions)
    assert 0.9 < fractions[-1] <= 1
