"""Every error that is the user's to mend.

AuscultError            one line: the place, what came, what was wanted, the next step
├── ConfigError         a YAML file or an option
│   └── SettingError    one field of a struct of settings; a ValueError too, so that the decoder adds file and field
├── BundleError         a bundle that is missing, half-written, changed or of another format
├── DataError           a data set: its layout, its clips, a machine that it does not have
├── AudioError          a sound file
├── DeviceError         a microphone
└── BackendError        an inference library that is missing or refuses the model
    ├── MissingError    TensorRT or a GPU that is not here: trying again changes nothing
    └── UnscoredError   a network that fails while it listens: these windows have no score

A command prints it on stderr and exits with 2 (`edge_runtime.cli`). Anything else is a bug and keeps its traceback.
"""


class AuscultError(Exception):
    """The user's mistake, in one line that says the next step."""


class ConfigError(AuscultError):
    """A configuration file or an option is wrong."""


class SettingError(ConfigError, ValueError):
    """One setting is nonsense."""


class BundleError(AuscultError):
    """A bundle cannot be trusted or opened."""


class DataError(AuscultError):
    """A data set cannot be used as asked."""


class AudioError(AuscultError):
    """A sound file cannot be read, or does not hold what is needed."""


class DeviceError(AuscultError):
    """A microphone is not there or cannot be opened."""


class BackendError(AuscultError):
    """An inference library is missing or refuses the model."""


class MissingError(BackendError):
    """What an engine needs is not on this machine."""


class UnscoredError(BackendError):
    """The network failed at these windows; the next may do."""


def first_line(error: Exception) -> str:
    """What an error of another library says, for a line of ours."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 160 else f"{line[:160]}…"
