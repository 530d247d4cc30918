"""The systems, by the name that a YAML file gives them. A system is a module that holds

Config     frozen settings, a `base.Config` with its tag
INPUTS     name -> spec of what the network takes
Network    nn.Module(config, shapes): forward(**inputs) -> {"embedding": [B, D]} or {"score": [B], ...}; exportable
Objective  base.Objective(config, network, classes): steps(network, batch) -> losses; left behind after training
"""

from types import ModuleType

from train.models import autoencoder, featex

SYSTEMS: dict[str, ModuleType] = {"autoencoder": autoencoder, "featex": featex}
