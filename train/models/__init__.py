"""The systems, by the name that a YAML file gives them. A system is a module that holds

Config     frozen settings, a `base.Config` with its tag; says by `inputs()` what the network takes
Network    nn.Module(config, shapes, classes: int): forward(**inputs) -> some of {"embedding": [B, D], "score": [B],
           "logits": [B, classes]}, no margin in them; exportable. `shapes` are those of the window that listens, and
           `classes` the number of those that its logits tell apart (`Config.logits_by`)
Objective  base.Objective(config, network, classes): steps(network, batch) -> losses; left behind after training
"""

from types import ModuleType

from train.models import autoencoder, featex, mobilenetv2, oevae, stgram_mfn, tdnn, tfap, tranself

SYSTEMS: dict[str, ModuleType] = {
    "autoencoder": autoencoder,
    "featex": featex,
    "mobilenetv2": mobilenetv2,
    "oevae": oevae,
    "stgram_mfn": stgram_mfn,
    "tdnn": tdnn,
    "tfap": tfap,
    "tranself": tranself,
}
