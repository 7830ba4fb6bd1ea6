"""The pod that serve makes for a model, for what is promised of every pod."""

import dataclasses
from typing import Any

from functions.kit.settings import load
from functions.serve import planning, service
from functions.serve.planning import Model
from functions.serve.requests import ServeOptions
from functions.serve.runtimes import Runtimes
from functions.serve.service import Server
from functions.serve.settings import Settings
from tests.deliveries import ENVIRONMENT
from tests.unit.serve_models import SMOLLM2


def knative_service(runtime: str) -> dict[str, Any]:
    """The Knative Service of a small model on this runtime."""
    needed = (each.metadata["env"] for each in dataclasses.fields(Settings) if each.default is dataclasses.MISSING)
    settings = load(Settings, {**dict.fromkeys(needed, "http://nowhere.invalid"), **ENVIRONMENT})
    metadata = {"config": SMOLLM2, "weights_bytes": 269_030_016, "parameters": {"BF16": 134_515_008}}
    model = Model("11111111-1111-4111-8111-111111111111", "SmolLM2-135M-Instruct", "available", metadata)
    server = Server("22222222-2222-4222-8222-222222222222", "smollm2", model.uuid, model.name)
    return service.knative_service(server, planning.plan(model, ServeOptions(), Runtimes(), runtime), settings)
