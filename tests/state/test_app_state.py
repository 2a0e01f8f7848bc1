import dataclasses
import json

import pytest

from qexplorer.cluster.address import Tls
from qexplorer.engine.jobs import jobs
from qexplorer.errors import UserError
from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import granularities
from qexplorer.quant.observers import observers
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import schema
from qexplorer.state.app_state import AppState, StudyChoice, describe

EVALUATE = {"name": "evaluate"}


SPECS = {
    "weight_spec": "int5 channel:0",
    "activation_spec": "uint5 affine",
    "repairs": "fold,bias_correction",
    "overrides": "a=int8",
    "target": "5 bits",
    "widths": "2,5",
}


def through_json(state: AppState) -> AppState:
    return AppState.from_json(json.loads(json.dumps(state.to_json())))


@pytest.mark.parametrize("job", list(jobs), ids=lambda cls: cls.name)
def test_every_job_survives_json_with_its_defaults_and_with_other_settings(job):
    assert through_json(AppState(job=job())).job == job()
    other = {}
    for f in schema(job):
        if f.choices:
            other[f.name] = f.values[-1]
        elif isinstance(f.default, (int, float)):
            other[f.name] = f.default + 3
        elif f.name in SPECS:
            other[f.name] = SPECS[f.name]
        else:
            other[f.name] = "folder/ä.bin"
    changed = job(**other)
    assert changed != job()
    assert through_json(AppState(job=changed)).job == changed


def test_every_field_of_the_state_survives_json():
    state = AppState(
        path="/data/weights \udce9.safetensors",
        tensor="layers.0 “ä”",
        recipe=Recipe.of_weights(
            QuantSpec.from_json({"format": "int4", "scheme": "affine", "granularity": "group:64", "observer": "mse"})
        ),
        log_counts=True,
        study=StudyChoice("four.toml", "tls://cluster:8786", "ca.pem", "own.pem", "ä/own.key"),
        theme="dark",
    )
    assert through_json(state) == state
    assert through_json(AppState()) == AppState()


@pytest.mark.parametrize(
    ("study", "field"), [({"file": 3}, "file"), ({"colour": "red"}, "colour"), ({"on": None}, "on"), (7, "study")]
)
def test_a_study_of_another_version_is_refused(study, field):
    with pytest.raises(UserError) as caught:
        AppState.from_json({**AppState().to_json(), "study": study})
    assert caught.value.field == field


def test_files_for_tls_serve_an_address_that_needs_them():
    choice = StudyChoice("four.toml", "tls://cluster:8786", "ca.pem", "own.pem", "own.key")
    assert choice.tls == Tls("ca.pem", "own.pem", "own.key")
    for on in ("local", "tcp://cluster:8786"):
        assert dataclasses.replace(choice, on=on).tls == Tls()


@pytest.mark.parametrize("name", formats.names)
def test_every_format_survives_json(name):
    state = AppState(recipe=Recipe.of_weights(QuantSpec(format=formats[name])))
    assert through_json(state) == state


@pytest.mark.parametrize("cls", [*granularities, *observers], ids=lambda cls: cls.name)
def test_every_granularity_and_observer_survives_json(cls):
    field = "granularity" if cls in list(granularities) else "observer"
    scheme = "affine" if cls.name == "hqq" else "symmetric"  # HQQ moves a zero point
    state = AppState(recipe=Recipe.of_weights(QuantSpec(scheme=scheme, **{field: cls()})))
    assert through_json(state) == state


def test_fields_that_are_missing_or_unknown_do_no_harm():
    assert AppState.from_json({}) == AppState()
    assert AppState.from_json({"tensor": "a", "from_the_future": 1}) == AppState(tensor="a")


def test_a_job_may_be_written_in_short():
    assert AppState.from_json({"job": "evaluate"}).job == jobs["evaluate"]()


def test_an_unknown_theme_follows_the_system():
    assert AppState.from_json({"theme": "purple"}).theme == "system"


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {"path": 3},
        {"path": None},
        {"tensor": ["a"]},
        {"theme": {}},
        {"log_counts": "no"},
        {"log_counts": 1},
        {"recipe": None},
        {"recipe": "int8"},
        {"recipe": ["rules"]},
        {"recipe": {"default": {"weights": None}}},
        {"recipe": {"default": {"weights": ["int8"]}}},
        {"recipe": {"colour": "red"}},
        {"recipe": {"rules": {}}},
        {"recipe": {"rules": [{"match": 3}]}},
        {"recipe": {"rules": [{"match": "a", "weights": "int8", "colour": "red"}]}},
        {"recipe": {"rules": [{"match": "a", "weights": "int9"}]}},
        {"recipe": {"default": {"activations": "uint9"}}},
        {"compared": [{"default": {"weights": "int9"}}]},
        {"recipe": {"default": {"weights": "int9"}}},
        {"recipe": {"default": {"weights": "[]"}}},
        {"recipe": {"default": {"weights": "int8 upside-down"}}},
        {"recipe": {"default": {"weights": "int8 fixed:nan,1"}}},
        {"recipe": {"default": {"weights": "int8 fixed:1,-1"}}},
        {"recipe": {"default": {"weights": "int8 channel:x"}}},
        {"recipe": {"default": {"weights": "int8 group:0"}}},
        {"recipe": {"default": {"weights": "int8 group:1,2,3"}}},
        {"recipe": {"default": {"weights": "fp16 affine"}}},
        {"recipe": {"default": {"weights": "int8 int8"}}},
        {"job": None},
        {"job": "no-such-job"},
        {"job": {}},
        {"job": {"name": "no-such-job"}},
        {"job": {"name": ["evaluate"]}},
        {"job": {**EVALUATE, "speed": 3}},
        {"job": {**EVALUATE, "limit": "all"}},
        {"job": {**EVALUATE, "limit": 1.5}},
        {"job": {**EVALUATE, "limit": True}},
        {"job": {**EVALUATE, "limit": -1}},
        {"job": {**EVALUATE, "weights": 5}},
        {"job": {**EVALUATE, "data": None}},
        {"job": {**EVALUATE, "device": "gpt-9"}},
        {"job": {**EVALUATE, "model": ["mobilenet_v2_digits"]}},
    ],
    ids=str,
)
def test_a_document_that_does_not_fit_is_refused_and_nothing_else_is_raised(document):
    with pytest.raises(UserError):
        AppState.from_json(document)


def test_the_state_serves_as_a_key():
    a, b = AppState(tensor="a"), AppState(tensor="a")
    assert a == b
    assert hash(a) == hash(b)
    assert {a: 1}[b] == 1


def test_equal_states_differ_in_nothing():
    assert describe(AppState(), AppState()) == ""
