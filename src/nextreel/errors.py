"""The one error tree.

    NextreelError
    ├── SettingsError      a setting is unknown or has a value it cannot have
    ├── JavaError          no Java runtime that Spark can use
    ├── SparkError         Spark did not start, or failed at what it was asked
    ├── KafkaError         the broker cannot be reached, or refused what it was asked
    │   ├── BrokerError    a broker that nextreel runs did not start, or ended
    │   ├── WriteError     Kafka did not acknowledge an event of the API
    │   └── DataLossError  Kafka no longer has messages that the checkpoint still wants
    ├── LakeError          the lake on disk is not what its commit records say
    ├── InputError         a file or directory given by the user is not what was looked for
    └── ModelError         a model cannot be trained, read or used

Every message says what was given, what is allowed and what to do. The command line prints it without a
traceback and exits with the class's ``exit_code``.
"""


class NextreelError(Exception):
    """Base of every error that nextreel raises on purpose."""

    exit_code = 1


class SettingsError(NextreelError):
    """A setting is unknown or has a value it cannot have."""

    exit_code = 2


class JavaError(NextreelError):
    """No Java runtime that Spark can use was found."""


class SparkError(NextreelError):
    """Spark did not start, or failed at what it was asked."""


class KafkaError(NextreelError):
    """The broker cannot be reached, or refused what it was asked."""


class BrokerError(KafkaError):
    """A broker that nextreel runs did not start, or ended."""


class WriteError(KafkaError):
    """Kafka did not acknowledge an event of the API; ``may_be_written`` is false if it is surely in no topic."""

    def __init__(self, reason: str, event_id: str, may_be_written: bool):
        super().__init__(reason)
        self.event_id = event_id
        self.may_be_written = may_be_written


class DataLossError(KafkaError):
    """Kafka no longer has messages that the checkpoint still wants."""


class LakeError(NextreelError):
    """The lake on disk is not what its commit records say."""


class InputError(NextreelError):
    """A file or directory given by the user is not what was looked for."""

    exit_code = 2


class ModelError(NextreelError):
    """A model cannot be trained, read or used."""


def was_interrupted(error: BaseException | None) -> bool:
    """Tell whether an error is what an interrupt left behind: Spark and DuckDB make errors of their own of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        if str(error) == "Query interrupted":  # DuckDB's, without the interrupt as its context
            return True
        error = error.__context__
    return error is not None
