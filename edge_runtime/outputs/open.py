"""Opens an output by its settings; what can be known beforehand is checked."""

import importlib.util
from pathlib import Path

from edge_runtime.errors import ConfigError
from edge_runtime.outputs import Output
from edge_runtime.outputs.settings import CommandSettings, RelaySettings, Settings, SoundSettings


def open_output(name: str, settings: Settings) -> Output:
    """It begins to work at once; a file, program or package that is missing is a ConfigError.

    A chip or loudspeaker that is not there is none: it may come, so it is said and tried again.
    """
    check_output(name, settings)
    if isinstance(settings, RelaySettings):
        from edge_runtime.outputs.relay import Relay

        return Relay(name, settings)
    if isinstance(settings, SoundSettings):
        from edge_runtime.outputs.sound import Sound

        return Sound(name, settings)
    from edge_runtime.outputs.command import Command

    return Command(name, settings)


def check_output(name: str, settings: Settings) -> None:
    """What `open_output` would refuse, without opening it."""
    if isinstance(settings, RelaySettings):
        _package(name, "gpiod", "relay")
    elif isinstance(settings, SoundSettings):
        _package(name, "sounddevice", "mic")
        _wav(name, settings.file)
    else:
        _command(name, settings)


def _package(name: str, package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"output {name}: the Python package {package} is missing; pip install 'auscult[{extra}]'")


def _wav(name: str, file: str) -> None:
    import wave

    from edge_runtime.outputs.player import FORMATS, Sound

    try:
        sound = Sound(file, 0.0)
    except (OSError, EOFError, wave.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"output {name}: {Path(file)}: {why}; give a WAV file (PCM, 60 s at most)") from None
    if sound.width not in FORMATS:
        raise ConfigError(f"output {name}: {file}: {8 * sound.width} bits; give a WAV file of 16 bits")


def _command(name: str, settings: CommandSettings) -> None:
    from edge_runtime.outputs.command import split

    split(name, settings.command)
