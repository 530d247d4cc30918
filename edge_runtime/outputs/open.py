"""Opens an output by its settings; what can be known beforehand is checked."""

import importlib.util
from pathlib import Path

from edge_runtime.errors import ConfigError
from edge_runtime.outputs import Output
from edge_runtime.outputs.settings import CommandSettings, RelaySettings, Settings, SoundSettings, WebhookSettings

OUTBOX = "outbox"  # folder of the state: what webhooks have not delivered


def open_output(name: str, settings: Settings, *, site: str = "", state: str | Path | None = None) -> Output:
    """It begins to work at once; a file, program or package that is missing is a ConfigError.

    A chip, loudspeaker or receiver that is not there is none: it may come, so it is said and tried again. `site`: its
    name; `state`: its folder, where what is not delivered outlives a restart.
    """
    check_output(name, settings)
    if isinstance(settings, RelaySettings):
        from edge_runtime.outputs.relay import Relay

        return Relay(name, settings)
    if isinstance(settings, SoundSettings):
        from edge_runtime.outputs.sound import Sound

        return Sound(name, settings)
    if isinstance(settings, WebhookSettings):
        from edge_runtime.outputs.webhook import Webhook

        return Webhook(name, settings, site, None if state is None else Path(state) / OUTBOX / name)
    from edge_runtime.outputs.command import Command

    return Command(name, settings)


def check_output(name: str, settings: Settings) -> None:
    """What `open_output` would refuse, without opening it."""
    if isinstance(settings, RelaySettings):
        _package(name, "gpiod", "relay")
    elif isinstance(settings, SoundSettings):
        _package(name, "sounddevice", "mic")
        _wav(name, settings.file)
    elif isinstance(settings, WebhookSettings):
        _webhook(name, settings)
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


def _webhook(name: str, settings: WebhookSettings) -> None:
    if name in (".", ".."):
        raise ConfigError(f"output {name}: a webhook's queue is a folder of that name; rename it")
    if settings.token_file is None and settings.ca_file is None:
        return
    from edge_runtime.outputs.receiver import token, trusted

    try:
        if settings.token_file is not None:
            token(settings.token_file)
        if settings.ca_file is not None:
            trusted(settings.ca_file)
    except ConfigError as error:
        raise ConfigError(f"output {name}: {error}") from None


def _command(name: str, settings: CommandSettings) -> None:
    from edge_runtime.outputs.command import split

    split(name, settings.command)
