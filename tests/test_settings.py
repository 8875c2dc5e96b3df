"""Settings: which source wins, and that whatever is refused is named with its value and where it came from."""

import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from nextreel import cli
from nextreel.errors import SettingsError
from nextreel.settings import KafkaSettings, Section, Settings, TrainSettings, load, sources


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no nextreel.toml by chance


def written(folder: Path, text: str) -> Path:
    file = folder / "given.toml"
    file.write_text(text, "utf-8")
    return file


def refusal(
    flags: dict[str, str] | None = None, environ: dict[str, str] | None = None, file: Path | None = None
) -> str:
    with pytest.raises(SettingsError) as caught:
        load(flags, environ or {}, file)
    assert caught.value.exit_code == 2
    return str(caught.value)


def leaves(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str | None]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{path}{name}.")
        else:
            yield path + name, field.description


# Which source wins


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = written(tmp_path, "[train]\nfactors = 32\niterations = 33\nalpha = 34.0\n")
    environ = {"NEXTREEL_TRAIN_FACTORS": "64", "NEXTREEL_TRAIN_ITERATIONS": "65"}
    train = load({"train.factors": "128"}, environ, file).train
    assert (train.factors, train.iterations, train.alpha) == (128, 65, 34.0)
    assert train.damping == Settings().train.damping


def test_the_file_is_found_by_name_by_variable_and_by_argument(tmp_path: Path) -> None:
    assert load({}, {}).train.factors == Settings().train.factors
    (tmp_path / "nextreel.toml").write_text("[train]\nfactors = 21\n")
    assert load({}, {}).train.factors == 21
    named = tmp_path / "other.toml"
    named.write_text("[train]\nfactors = 22\n")
    assert load({}, {"NEXTREEL_CONFIG": str(named)}).train.factors == 22
    given = written(tmp_path, "[train]\nfactors = 23\n")
    assert load({}, {"NEXTREEL_CONFIG": str(named)}, given).train.factors == 23


def test_the_environment_is_the_process_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTREEL_EXPORT_TOP_K", "17")
    assert load().export.top_k == 17


def test_other_variables_are_not_ours() -> None:
    assert load({}, {"NEXTREEL_VENV": "/x", "TRAIN_FACTORS": "1", "nextreel_train_factors": "1"}) == Settings()


SERVICE_LINKS = [
    "NEXTREEL_SERVICE_HOST",
    "NEXTREEL_SERVICE_PORT",
    "NEXTREEL_SERVICE_PORT_HTTP",
    "NEXTREEL_PORT",
    "NEXTREEL_PORT_8000_TCP",
    "NEXTREEL_PORT_8000_TCP_PROTO",
    "NEXTREEL_PORT_8000_TCP_PORT",
    "NEXTREEL_PORT_8000_TCP_ADDR",
    "NEXTREEL_PORT_53_UDP",
]


def test_what_kubernetes_sets_for_a_service_of_our_name_is_not_ours() -> None:
    assert load({}, dict.fromkeys(SERVICE_LINKS, "tcp://10.0.0.7:8000")) == Settings()


@pytest.mark.parametrize(
    "name", ["SERVICE", "SERVICE_HOSTS", "SERVICE_PORTS", "PORTS", "PORT_8000", "PORT_X_TCP", "PORT_8000_TCPX"]
)
def test_what_only_looks_like_it_is_refused(name: str) -> None:
    assert refusal(environ={f"NEXTREEL_{name}": "1"}).startswith(f"NEXTREEL_{name} sets nothing")


def test_a_variable_sets_the_longest_section_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Longer(Section):
        train: TrainSettings = TrainSettings()
        train_kafka: KafkaSettings = KafkaSettings()

    monkeypatch.setattr(sources, "Settings", Longer)
    assert sources._key_of_variable("NEXTREEL_TRAIN_KAFKA_PARTITIONS") == ("train_kafka", "partitions")
    assert sources._key_of_variable("NEXTREEL_TRAIN_FACTORS") == ("train", "factors")


def test_names_with_underscores_and_sections_in_sections() -> None:
    given = {"NEXTREEL_INGEST_MAX_OFFSETS_PER_TRIGGER": "5", "NEXTREEL_RATINGS_WEIGHTS_AGE_RATING": "0.7"}
    settings = load({"ratings.weights.genres": "0.9"}, given)
    assert settings.ingest.max_offsets_per_trigger == 5
    assert (settings.ratings.weights.age_rating, settings.ratings.weights.genres) == (0.7, 0.9)


def test_the_home_holds_everything() -> None:
    settings = load({}, {"NEXTREEL_HOME": "/srv/n"})
    assert (settings.lake, settings.models, settings.exports) == (
        Path("/srv/n/lake"),
        Path("/srv/n/models"),
        Path("/srv/n/exports"),
    )


# Client settings of other software, by their own names


def test_client_settings_come_through_from_everywhere(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '[kafka]\nbootstrap = "b:1"\n[kafka.client]\n"sasl.username" = "ana"\n'
        "security.protocol = 'SASL_PLAINTEXT'\nsocket.timeout.ms = 900\nenable.ssl.certificate.verification = false\n",
    )
    environ = {"NEXTREEL_KAFKA_CLIENT_SASL_MECHANISM": "PLAIN", "NEXTREEL_KAFKA_CLIENT_SECURITY_PROTOCOL": "SASL_SSL"}
    assert load({"kafka.client.sasl.password": "s3cret"}, environ, file).kafka.client_config == {
        "bootstrap.servers": "b:1",
        "sasl.username": "ana",
        "security.protocol": "SASL_SSL",
        "socket.timeout.ms": "900",
        "enable.ssl.certificate.verification": "false",
        "sasl.mechanism": "PLAIN",
        "sasl.password": "s3cret",
    }


def test_spark_settings_keep_their_names(tmp_path: Path) -> None:
    file = written(tmp_path, "[spark.conf]\nspark.sql.shuffle.partitions = 3\nspark.driver.maxResultSize = '2g'\n")
    assert load({"spark.conf.spark.task.maxFailures": "9"}, {}, file).spark.conf == {
        "spark.sql.shuffle.partitions": "3",
        "spark.driver.maxResultSize": "2g",
        "spark.task.maxFailures": "9",
    }


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    settings = load({"kafka.client.sasl.password": "s3cret"}, {"NEXTREEL_KAFKA_CLIENT_SSL_KEY_PASSWORD": "s3cret"})
    shown = [repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())]
    assert [text for text in shown if "s3cret" in text] == []
    assert json.loads(shown[2])["kafka"]["client"].keys() == {"sasl.password", "ssl.key.password"}


def test_secrets_are_not_in_refusals() -> None:
    flags = {"kafka.client.sasl.password": "s3cret", "kafka.users": "x", "kafka.movies": "x", "kafka.partitions": "0"}
    assert "s3cret" not in refusal(flags)
    assert "s3cret" not in refusal(flags | {"kafka.partitions": "1"})


def test_settings_of_kafka_s_java_client_go_through_and_are_not_shown() -> None:
    name = "NEXTREEL_INGEST_JAVA_CLIENT_SSL_TRUSTSTORE_PASSWORD"
    settings = load({"ingest.java_client.sasl.jaas.config": "hunter2"}, {name: "hunter3"})
    assert settings.ingest.java_client.keys() == {"sasl.jaas.config", "ssl.truststore.password"}
    assert "hunter" not in repr(settings) + settings.model_dump_json()


GIVEN = '{"sasl.password":"hunter2"}'


@pytest.mark.parametrize("table", ["kafka.client", "spark.conf", "ingest.java_client"])
def test_a_value_for_a_free_table_is_not_shown_but_what_to_do_is(table: str) -> None:
    name = "NEXTREEL_" + table.upper().replace(".", "_")
    for message in (refusal(environ={name: GIVEN}), refusal({table: GIVEN})):
        assert f"{table} (from " in message
        assert "hunter2" not in message
        assert f"{name}_<NAME>=… or --set {table}.<name>=…" in message


@pytest.mark.parametrize(
    "text",
    [
        "kafka.client = 'sasl.password=hunter2'",
        "kafka.client = ['sasl.password=hunter2']",
        "[[kafka.client]]\nsasl.password = 'hunter2'",
        "[[kafka]]\nclient.sasl.password = 'hunter2'",
        "kafka = 'client.sasl.password=hunter2'",
        "spark.conf = 'fs.s3a.secret.key=hunter2'",
        "spark = 'conf.fs.s3a.secret.key=hunter2'",
    ],
)
def test_the_file_s_value_for_a_free_table_is_not_shown(text: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    for environ in ({}, {"NEXTREEL_KAFKA_CLIENT_X": "1", "NEXTREEL_SPARK_CONF_X": "1"}):
        message = refusal(environ=environ, file=file)
        assert "hunter2" not in message
        assert "kafka" in message or "spark" in message


def test_an_entry_of_a_free_table_that_was_given_a_value() -> None:
    message = refusal(environ={"NEXTREEL_KAFKA_CLIENT": GIVEN, "NEXTREEL_KAFKA_CLIENT_SASL_MECHANISM": "PLAIN"})
    assert message == (
        "NEXTREEL_KAFKA_CLIENT_SASL_MECHANISM sets kafka.client.sasl.mechanism, but kafka.client was given as a single "
        "value: it is no table; set its entries one by one, as NEXTREEL_KAFKA_CLIENT_<NAME>=… or "
        "--set kafka.client.<name>=…"
    )


@pytest.mark.parametrize(
    "key",
    [
        "fs.azure.account.key.films.dfs.core.windows.net",
        "fs.s3a.access.key",
        "fs.s3a.secret.key",
        "spark.ssl.keyPassword",
        "fs.azure.sas.token",
    ],
)
def test_spark_secrets_are_masked_on_the_command_line(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(logging.getLogger(), "addFilter", lambda _: None)
    given = ["--set", f"spark.conf.{key}=hunter2", "--set", "spark.conf.spark.task.maxFailures=9"]
    shown = CliRunner().invoke(cli.main, [*given, "settings"])
    assert json.loads(shown.stdout)["spark"]["conf"] == {key: "**********", "spark.task.maxFailures": "9"}


# What is refused: its key, its value, its origin

WRONG = [
    ("train.factors", "0", "greater than or equal to 1"),
    ("train.factors", "many", "valid integer"),
    ("train.factors", "1.5", "valid integer"),
    ("train.test_fraction", "1.0", "less than 1"),
    ("train.regularization", "nan", "finite number"),
    ("train.alpha", "inf", "finite number"),
    ("export.top_k", "1001", "less than or equal to 1000"),
    ("ratings.noise", "-0.1", "greater than or equal to 0"),
    ("ratings.weights.genres", "-1", "greater than or equal to 0"),
    ("ratings.simulate", "always", "'sparse' or 'never'"),
    ("ingest.connector", "rust", "'python' or 'jvm'"),
    ("ingest.fail_on_data_loss", "perhaps", "valid boolean"),
    ("spark.driver_memory", "lots", "pattern"),
    ("kafka.partitions", "", "valid integer"),
]


@pytest.mark.parametrize(("key", "value", "right"), WRONG)
def test_a_wrong_value_names_its_flag(key: str, value: str, right: str) -> None:
    message = refusal({key: value})
    assert f"{key} = {value!r} (from --set {key}): " in message
    assert right in message


@pytest.mark.parametrize(("key", "value", "right"), WRONG)
def test_a_wrong_value_names_its_variable(key: str, value: str, right: str) -> None:
    name = "NEXTREEL_" + key.upper().replace(".", "_")
    message = refusal(environ={name: value})
    assert f"{key} = {value!r} (from {name}): " in message
    assert right in message


@pytest.mark.parametrize(("key", "value", "right"), WRONG)
def test_a_wrong_value_names_its_file(key: str, value: str, right: str, tmp_path: Path) -> None:
    file = written(tmp_path, f'{key} = "{value}"\n')
    message = refusal(file=file)
    assert f"{key} = {value!r} (from {file}): " in message
    assert right in message


def test_every_wrong_value_is_named_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "[train]\nalpha = -1\n")
    message = refusal({"train.factors": "0"}, {"NEXTREEL_EXPORT_TOP_K": "0"}, file)
    assert f"train.alpha = -1 (from {file})" in message
    assert "train.factors = '0' (from --set train.factors)" in message
    assert "export.top_k = '0' (from NEXTREEL_EXPORT_TOP_K)" in message


@pytest.mark.parametrize(
    "variable", ["NEXTREEL_TRAIN_FACTOR", "NEXTREEL_FACTORS", "NEXTREEL_", "NEXTREEL_KAFKA_TOPIC", "NEXTREEL_TRAINS"]
)
def test_an_unknown_variable(variable: str) -> None:
    assert refusal(environ={variable: "1"}).startswith(f"{variable} sets nothing")


@pytest.mark.parametrize("key", ["train.factor", "topics", "ratings.weights.genre"])
def test_an_unknown_flag(key: str) -> None:
    assert f"{key} (from --set {key}) is no setting" in refusal({key: "1"})


def test_an_unknown_section_names_the_flag() -> None:
    assert "trains (from --set trains.factors) is no setting" in refusal({"trains.factors": "1"})


@pytest.mark.parametrize("key", ["train.factor", "topics", "ratings.weights.genre"])
def test_an_unknown_key_of_the_file(key: str, tmp_path: Path) -> None:
    file = written(tmp_path, f"{key} = 1\n")
    assert f"{key} (from {file}) is no setting" in refusal(file=file)


def test_topics_must_differ() -> None:
    message = refusal({"kafka.users": "events"}, {"NEXTREEL_KAFKA_SERIES": "events"})
    assert "the four topics must differ, not events, producer2_topic, events, producer4_topic" in message
    assert "--set kafka.users" in message
    assert "NEXTREEL_KAFKA_SERIES" in message


TOO_LONG = "x" * 250


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a,b", "a b", "a\n", "café", TOO_LONG])
def test_a_topic_s_name_that_kafka_does_not_take(name: str) -> None:
    assert refusal({"kafka.series": name}).endswith(
        f"kafka.series = {name!r} (from --set kafka.series): "
        "it must be 1 to 249 characters of A-Z, a-z, 0-9, '.', '_' and '-', and neither '.' nor '..'"
    )


@pytest.mark.parametrize("name", ["...", "a", "A-1_b.c", TOO_LONG[:249]])
def test_a_topic_s_name_that_kafka_takes(name: str) -> None:
    assert load({"kafka.series": name}, {}).kafka.topics == (
        "producer1_topic", "producer2_topic", name, "producer4_topic",
    )  # fmt: skip


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize("key", ["home", "kafka.bootstrap"])
def test_what_must_not_be_empty(key: str, value: str, tmp_path: Path) -> None:
    variable = "NEXTREEL_" + key.upper().replace(".", "_")
    file = written(tmp_path, f'{key} = "{value}"\n')
    for origin, message in (
        (f"--set {key}", refusal({key: value})),
        (variable, refusal(environ={variable: value})),
        (str(file), refusal(file=file)),
    ):
        told = f"{key} = {value!r} (from {origin}): it must not be empty; leave it out for the default"
        assert message.splitlines()[1:] == [f"  {told}"]


def test_some_weight_must_be_above_zero() -> None:
    weights = {f"ratings.weights.{t}": "0" for t in ("genres", "directors", "actors", "decade", "age_rating")}
    message = refusal(weights)
    assert "at least one weight must be above 0" in message
    assert "--set ratings.weights.genres" in message


@pytest.mark.parametrize("text", ["kafka = 3", "train = 'x'", "kafka.client = 1", "spark.conf = [1]", "home = {a = 1}"])
def test_a_value_where_a_table_should_be_and_the_reverse(text: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    message = refusal(file=file)
    assert text.partition(" ")[0] in message
    assert str(file) in message


@pytest.mark.parametrize(
    ("text", "section", "given"),
    [
        ("[[kafka]]\nbootstrap = 'x'", "kafka", "an array of tables, [[kafka]]"),
        ("[[ratings.weights]]\ngenres = 1", "ratings.weights", "an array of tables, [[ratings.weights]]"),
        ("[[kafka.client]]\nx = 'hunter2'", "kafka.client", "an array of tables, [[kafka.client]]"),
        ("train = [1]", "train", "an array"),
        ("train = 1", "train", "a single value"),
    ],
)
def test_a_section_that_is_no_table(text: str, section: str, given: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    assert f"\n  {section} (from {file}) must be a table, [{section}], not {given}" in refusal(file=file)


def test_a_flag_inside_an_array_of_tables(tmp_path: Path) -> None:
    file = written(tmp_path, "[[train]]\nfactors = 3")
    assert refusal({"train.alpha": "1"}, file=file) == (
        "--set train.alpha sets train.alpha, but train was given as an array of tables, [[train]]: it is no table"
    )


def test_a_variable_inside_what_is_no_table(tmp_path: Path) -> None:
    file = written(tmp_path, "train = 3")
    assert refusal(environ={"NEXTREEL_TRAIN_FACTORS": "8"}, file=file) == (
        "NEXTREEL_TRAIN_FACTORS sets train.factors, but train was given as 3: it is no table"
    )


def test_a_flag_below_a_setting() -> None:
    assert "home (from --set home.x)" in refusal({"home.x": "1"})


@pytest.mark.parametrize("content", [b"[train\nfactors = 1", b"a = 1\na = 2", b"\x80\xfe", b"\xff\xfea", b"factors: 3"])
def test_a_file_that_is_no_toml(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    assert f"the settings file {file} cannot be read: " in refusal(file=file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "missing.toml"
    assert f"the settings file {file} cannot be read: " in refusal(environ={"NEXTREEL_CONFIG": str(file)})
    assert f"the settings file {tmp_path} cannot be read: " in refusal(file=tmp_path)


# What they say about themselves


@pytest.mark.parametrize(("key", "description"), list(leaves(Settings)))
def test_every_setting_is_described(key: str, description: str | None) -> None:
    assert description, f"{key} has no description"


@pytest.mark.parametrize("key", [key for key, _ in leaves(Settings)])
def test_every_setting_has_a_variable(key: str) -> None:
    environ = {"NEXTREEL_" + key.upper().replace(".", "_"): "no number"}
    try:
        settings = load({}, environ)
    except SettingsError as error:
        given = "" if key in ("kafka.client", "spark.conf", "ingest.java_client") else " = 'no number'"
        said = str(error).replace(f"{key}.0 =", f"{key} =")  # an entry of a list
        assert f"{key}{given} (from " in said
    else:
        section, _, name = f".{key}".rpartition(".")
        found = settings if not section else getattr(settings, section[1:])
        value = getattr(found, name)
        assert (value if isinstance(value, list) else [str(value)]) == ["no number"]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load({}, {}).train.factors = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "home", ["s3a://bucket/nextreel", "abfss://lake@account.dfs.core.windows.net/x", "hdfs://n:1/"]
)
def test_an_object_stores_address_is_no_folder(home: str) -> None:
    assert "must be a folder" in refusal({"home": home})
