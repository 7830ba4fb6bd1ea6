"""`chat`: one streamed answer at a time, also from a model that sleeps."""

from tests.unit.cli.fake import SERVER, Fake, Person, problem, sse


def test_chat_streams_the_answer(person: Person, fake: Fake) -> None:
    """The pieces in order on stdout."""
    result = person.types("chat", "Tiny", "What is the capital of France?")
    assert (result.exit_code, result.stdout) == (0, "Paris\n")
    (body,) = fake.bodies("POST /m/tiny/v1/chat/completions")
    assert (body["model"], body["stream"], body["messages"][0]["content"]) == (
        "tiny",
        True,
        "What is the capital of France?",
    )


def test_chat_waits_for_a_model_that_wakes(person: Person, fake: Fake) -> None:
    """503 means later: the question is asked again until it is answered."""
    call = "POST /m/tiny/v1/chat/completions"
    fake.on(call, problem(503, "Waking", "later"), problem(503, "Waking", "later"), (200, sse("Paris")))
    assert person.types("chat", "tiny", "?").stdout == "Paris\n"


def test_chat_reads_the_question_from_a_pipe(person: Person, fake: Fake) -> None:
    """`echo ... | kn model chat` works."""
    person.types("chat", "tiny", stdin="from a pipe\n")
    assert fake.bodies("POST /m/tiny/v1/chat/completions")[0]["messages"][0]["content"] == "from a pipe"


def test_an_answer_that_is_cut_is_no_answer(person: Person, fake: Fake) -> None:
    """A stream without its end mark is a failure, even though words came."""
    fake.on("POST /m/tiny/v1/chat/completions", (200, sse("Pa").removesuffix(b"data: [DONE]\n\n")))
    result = person.types("chat", "tiny", "?")
    assert (result.exit_code, result.stdout, "cut" in result.stderr) == (1, "Pa", True)


def test_an_error_of_the_engine_is_shown(person: Person, fake: Fake) -> None:
    """In the OpenAI shape as well."""
    fake.on("POST /m/tiny/v1/chat/completions", (400, {"error": {"message": "max_tokens is too large"}}))
    result = person.types("chat", "tiny", "?")
    assert (result.exit_code, "max_tokens is too large" in result.stderr) == (1, True)


def test_a_model_that_failed_is_not_waited_for(person: Person, fake: Fake) -> None:
    """It cannot wake: the cluster's reason is said at once, and nothing is asked."""
    fake.on("GET /status/tiny", (200, SERVER | {"status": "failed", "error": "out of memory"}))
    result = person.types("chat", "tiny", "?")
    assert (result.exit_code, "out of memory" in result.stderr) == (1, True)
    assert fake.bodies("POST /m/tiny/v1/chat/completions") == []
