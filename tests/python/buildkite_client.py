"""A client of Buildkite in Python's standard library, written from Buildkite's public documents alone.

Usage: buildkite_client.py CONTROL_URL BUILDKITE_URL

Speaks to a running fake Buildkite as a program written by others would: the Stacks API, GraphQL with the queries of
the documents' cookbook, REST, and a receiver of webhooks that checks their signatures. Builds are made over the
fake's control surface (docs/fakes.md). Prints one JSON object a line for each thing tried, `client`, `scenario`,
`expected`, `seen` and `ok`, and ends with 1 if anything was not as the documents say.
"""

import hashlib
import hmac
import http.server
import json
import platform
import queue
import sys
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

ORGANIZATION = "gust-demo"
PIPELINE = "python"
QUEUE = "gust"
CLUSTER_TOKEN = "bkct_fake"
API_TOKEN = "bkua_fake"
SECRET = "a webhook's token"
# How long what happens by itself may take.
WITHIN_S = 30
# The documents' advice for the age of a signature.
REPLAY_WINDOW_S = 300


class Mismatch(Exception):
    """The fake did not do what the documents say."""


def check(holds, what):
    if not holds:
        raise Mismatch(what)


class Reply:
    """Status, headers and body of a reply."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.text = status, headers, body.decode()
        self.body = json.loads(self.text) if self.text.strip() else None

    def must_be(self, *statuses):
        check(self.status in statuses, f"{self.status} instead of {statuses}: {self.text[:300]}")
        return self.body


def call(method, url, body=None, **headers):
    """One exchange. A refusal is a reply as well."""
    data = None
    if body is not None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=WITHIN_S) as reply:
            return Reply(reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as refusal:
        return Reply(refusal.code, refusal.headers, refusal.read())


class Buildkite:
    """The APIs, and the control surface of the fake for what people do."""

    def __init__(self, control, buildkite):
        self.control, self.base = control, buildkite

    def build(self, steps):
        url = f"{self.control}/builds?pipeline={PIPELINE}"
        build = call("POST", url, steps, content_type="text/yaml").must_be(201)
        return build["build"]["number"], [job["uuid"] for job in build["jobs"]]

    def stacks(self, method, path, body=None, token=CLUSTER_TOKEN):
        return call(method, f"{self.base}/v3/stacks/{path}", body, authorization=f"Token {token}")

    def agent(self, method, path, token, body=None):
        return call(method, f"{self.base}/v3/{path}", body, authorization=f"Token {token}")

    def rest(self, method, path, body=None, token=API_TOKEN):
        url = f"{self.base}/v2/organizations/{ORGANIZATION}/{path}"
        return call(method, url, body, authorization=f"Bearer {token}")

    def graphql(self, query, **variables):
        body = {"query": query, "variables": variables}
        reply = call("POST", f"{self.base}/v1", body, authorization=f"Bearer {API_TOKEN}")
        return reply.must_be(200)

    def listed(self, key, **query):
        query = urllib.parse.urlencode({"queue_key": QUEUE, **query})
        return self.stacks("GET", f"{key}/scheduled-jobs?{query}")


def register(buildkite, key):
    stack = {"key": key, "type": "custom", "queue_key": QUEUE, "metadata": {"version": "1.0.0"}}
    return buildkite.stacks("POST", "register", stack)


def stacks_listing(buildkite):
    """Registering, and finding jobs in pages."""
    check(buildkite.listed("py-list").status == 404, "a stack that is not registered lists jobs")
    stack = register(buildkite, "py-list").must_be(201)
    check(stack["key"] == "py-list" and stack["state"] == "connected", stack)
    check(register(buildkite, "py-list").status == 200, "registering again is no 200")
    check(buildkite.stacks("POST", "register", {"key": "a b"}).status == 422, "a bad key is taken")
    strange = buildkite.stacks("POST", "register", {}, token="bkct_unknown")
    check(strange.status == 401 and strange.body["message"], "an unknown token is no 401 with a message")

    _, jobs = buildkite.build("steps:\n- {command: a, key: a, agents: {queue: gust, cpu: 8}}\n- {command: b}\n")
    seen, after, pages = [], None, 0
    while True:
        page = buildkite.listed("py-list", limit=1, **({"after": after} if after else {}))
        listing = page.must_be(200)
        seen += listing["jobs"]
        pages += 1
        after = listing["page_info"]["end_cursor"]
        if not listing["page_info"]["has_next_page"]:
            break
    check([job["id"] for job in seen] == jobs, f"listed {seen}, created {jobs}")
    check(seen[0]["agent_query_rules"] == ["queue=gust", "cpu=8"], seen[0])
    check(seen[0]["step"] == {"key": "a"} and seen[1]["step"] == {"key": None}, "steps are not as they were written")
    check(seen[0]["pipeline"]["slug"] == PIPELINE and seen[0]["build"]["branch"] == "main", seen[0])
    check(listing["cluster_queue"]["dispatch_paused"] is False, "a queue that is not paused says it is")
    for header in ["RateLimit-Scope", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]:
        check(page.headers[header] is not None, f"no header {header}")
    check(buildkite.listed("py-list", limit=0).status == 400, "limit=0 is no 400")
    for job in jobs:
        buildkite.stacks("POST", f"py-list/jobs/{job}/finish", {"exit_status": 0, "detail": "done"}).must_be(200)
    return f"201, 200; {len(seen)} jobs in {pages} pages, oldest first; 400, 401, 404 and 422 where they belong"


def stacks_life(buildkite):
    """A job from reservation to its end without an agent."""
    key = "py-life"
    register(buildkite, key).must_be(201)
    _, (job, other) = buildkite.build("steps:\n- {command: echo hi, env: {K: V}}\n- {command: b}\n")
    nobody = "00000000-0000-4000-8000-000000000000"
    ask = {"job_uuids": [job, nobody], "reservation_expiry_seconds": 300}
    got = buildkite.stacks("PUT", f"{key}/scheduled-jobs/batch-reserve", ask).must_be(200)
    check(got == {"reserved": [job], "not_reserved": [nobody]}, got)
    check([one["id"] for one in buildkite.listed(key).must_be(200)["jobs"]] == [other], "a reserved job is listed")
    states = buildkite.stacks("POST", f"{key}/jobs/get-states", {"job_uuids": [job, other]}).must_be(200)
    check(states == {"states": {job: "reserved", other: "scheduled"}}, states)
    check(buildkite.stacks("POST", f"{key}/jobs/get-states", {"job_uuids": job}).status == 400, "no list, no 400")
    detail = buildkite.stacks("GET", f"{key}/jobs/{job}").must_be(200)
    check(detail["command"] == "echo hi" and detail["env"]["K"] == "V", detail)
    check(detail["env"]["BUILDKITE_JOB_ID"] == job, detail["env"])
    check(buildkite.stacks("GET", f"{key}/jobs/{nobody}").status == 404, "an unknown job is no 404")

    notes = [{"job_uuid": job, "detail": text} for text in ["Pod is starting up", "", "x" * 256, "y" * 257]]
    said = buildkite.stacks("POST", f"{key}/notifications", {"notifications": notes}).must_be(200)
    check([one["indexes"] for one in said["errors"]] == [[1], [3]], said)

    long = buildkite.stacks("POST", f"{key}/jobs/{job}/finish", {"detail": "x" * 4097})
    check(long.status == 422, "a detail of more than 4 KB is no 422")
    buildkite.stacks("POST", f"{key}/jobs/{job}/finish", {"detail": "no machine"}).must_be(200)
    again = buildkite.stacks("POST", f"{key}/jobs/{job}/finish", {"detail": "no machine"})
    check(400 <= again.status < 500, "a job is finished twice")
    states = buildkite.stacks("POST", f"{key}/jobs/get-states", {"job_uuids": [job]}).must_be(200)
    check(states["states"][job] == "finished", states)
    shown = buildkite.rest("GET", f"jobs/{job}").must_be(200)
    check((shown["state"], shown["exit_status"]) == ("failed", -1), shown)
    buildkite.stacks("POST", f"{key}/jobs/{other}/finish", {"exit_status": 0, "detail": "nothing to do"}).must_be(200)
    check(buildkite.stacks("POST", f"{key}/deregister").status == 204, "deregister is no 204")
    check(buildkite.listed(key).status == 404, "a stack that is gone lists jobs")
    return "reserved, told of, finished once with -1; errors of notes by index; deregistered"


def stacks_rate(buildkite):
    """More lists in a second than are allowed."""
    register(buildkite, "py-rate").must_be(201)
    replies = [buildkite.listed("py-rate") for _ in range(12)]
    refused = [reply for reply in replies if reply.status == 429]
    check(refused, "12 lists in a row are all served")
    body = refused[0].body
    check(body["scope"] == "list-scheduled-jobs" and body["limit"] == 10 and body["reset"] >= 0, body)
    check(refused[0].headers["RateLimit-Scope"] == body["scope"], "header and body name different scopes")
    time.sleep(float(body["reset"]) + 0.2)
    buildkite.listed("py-rate").must_be(200)
    return f"429 with scope {body['scope']}, limit {body['limit']}; served again after {body['reset']} s"


def acquisition_token(buildkite):
    """A token for one job, and the job's whole life under it as an agent lives it."""
    register(buildkite, "py-token").must_be(201)
    _, (job, other) = buildkite.build("steps:\n- {command: a}\n- {command: b}\n")
    reserve = {"job_uuids": [job, other], "reservation_expiry_seconds": 300}
    buildkite.stacks("PUT", "py-token/scheduled-jobs/batch-reserve", reserve).must_be(200)
    ask = {"job_uuids": [job], "token_lifetime_seconds": 60}
    issued = buildkite.stacks("POST", "py-token/job-acquisition-tokens", ask).must_be(201)
    [one] = issued["job_acquisition_tokens"]
    token = one["job_acquisition_token"]
    check(one["job_uuid"] == job and token.startswith("bkjat_") and issued["not_issued"] == [], issued)

    agent = {"name": "py", "hostname": "h", "os": "linux", "arch": "amd64", "version": "1", "build": "1",
             "script_eval_enabled": True, "ignore_in_dispatches": True, "meta_data": ["queue=gust"], "features": []}
    session = buildkite.agent("POST", "register", token, agent).must_be(200, 201)["access_token"]
    check(buildkite.agent("POST", "connect", session).status < 300, "the agent cannot connect")
    stray = buildkite.agent("PUT", f"jobs/{other}/acquire", session)
    check(400 <= stray.status < 500, "the token acquires another job")
    acquired = buildkite.agent("PUT", f"jobs/{job}/acquire", session).must_be(200)
    check(acquired["env"]["BUILDKITE_JOB_ID"] == job, acquired)
    own = acquired["token"]
    check(own not in (token, session), "job, session and acquisition share a token")
    started = {"started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    check(buildkite.agent("PUT", f"jobs/{job}/start", own, started).status < 300, "the job does not start")
    check(buildkite.agent("GET", f"jobs/{job}", own).must_be(200)["state"] == "running", "it does not run")
    end = {"exit_status": "0", "finished_at": started["started_at"], "chunks_failed_count": 0}
    check(buildkite.agent("PUT", f"jobs/{job}/finish", own, end).status < 300, "the job does not finish")
    check(buildkite.rest("GET", f"jobs/{job}").must_be(200)["state"] == "passed", "the job has not passed")
    late = buildkite.agent("POST", "register", token, agent)
    check(late.status == 422, f"the token of a job that is over registers an agent: {late.status}")
    buildkite.stacks("POST", f"py-token/jobs/{other}/finish", {"exit_status": 0, "detail": "done"}).must_be(200)
    return f"acquired its own job, another refused with {stray.status}, passed, then no more"


LIST = """
query Scheduled($org: ID!, $after: String) {
  organization(slug: $org) {
    jobs(first: 2, after: $after, type: [COMMAND], state: [SCHEDULED], agentQueryRules: ["queue=gust", "team=py"]) {
      count
      edges { node { ... on JobTypeCommand { id uuid state agentQueryRules createdAt } } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""


def graphql_list(buildkite):
    """All scheduled jobs with certain tags, in pages."""
    steps = "".join(f"- {{command: {name}, agents: {{queue: gust, team: py}}}}\n" for name in "abc")
    number, jobs = buildkite.build("steps:\n" + steps + "- {command: d}\n")
    seen, after = [], None
    while True:
        listing = buildkite.graphql(LIST, org=ORGANIZATION, after=after)["data"]["organization"]["jobs"]
        check(listing["count"] == 3, listing)
        seen += [edge["node"] for edge in listing["edges"]]
        after = listing["pageInfo"]["endCursor"]
        if not listing["pageInfo"]["hasNextPage"]:
            break
    check(sorted(one["uuid"] for one in seen) == sorted(jobs[:3]), seen)
    check(all(one["state"] == "SCHEDULED" for one in seen), seen)
    wrong = buildkite.graphql("query { organization(slug: \"gust-demo\") { nonsense } }")
    check("doesn't exist on type" in wrong["errors"][0]["message"], wrong)
    buildkite.rest("PUT", f"pipelines/{PIPELINE}/builds/{number}/cancel").must_be(200)
    return "3 jobs with both tags, in 2 pages; an unknown field is refused in an errors list with 200"


def graphql_cookbook(buildkite):
    """The queries of the documents' cookbook for jobs, with names of this organization filled in."""
    number, (job,) = buildkite.build("steps:\n- {command: a, concurrency: 1, concurrency_group: py}\n")
    slug = f"{ORGANIZATION}/{PIPELINE}/{number}"
    found = buildkite.graphql(
        f'query GetJob {{ job(uuid: "{job}") {{ ... on JobTypeCommand {{ id uuid createdAt scheduledAt finishedAt '
        "pipeline { name } build { id number pipeline { name } } } } }"
    )["data"]["job"]
    check(found["uuid"] == job and found["build"]["number"] == number, found)
    ids = buildkite.graphql(
        f'query GetJobsUUID {{ build(slug: "{slug}") {{ jobs(first: 1) {{ edges {{ node {{ '
        "... on JobTypeCommand { uuid } } } } } }"
    )["data"]["build"]["jobs"]["edges"]
    check([edge["node"]["uuid"] for edge in ids] == [job], ids)
    waiting = buildkite.graphql(
        f'query getConcurrency {{ organization(slug: "{ORGANIZATION}") {{ jobs(first:100, concurrency:{{group:"py"}}, '
        "type:[COMMAND], state:[LIMITED,WAITING,ASSIGNED,SCHEDULED]) { edges { node { "
        "... on JobTypeCommand { url createdAt } } } } } }"
    )["data"]["organization"]["jobs"]["edges"]
    check(len(waiting) == 1 and waiting[0]["node"]["url"], waiting)
    last = buildkite.graphql(
        f'query PipelineRecentBuildLastJobQueue {{ organization(slug: "{ORGANIZATION}") {{ pipelines(first: 500) {{ '
        "edges { node { slug builds(first: 1) { edges { node { number "
        'jobs(state: SCHEDULED, first: 1, agentQueryRules: "queue=gust") { edges { node { '
        "... on JobTypeCommand { uuid agentQueryRules createdAt } } } } } } } } } pageInfo { hasNextPage endCursor } } } }"
    )
    check("errors" not in last, last)

    cancel = f'mutation CancelJob {{ jobTypeCommandCancel(input: {{ id: "{found["id"]}" }}) {{ jobTypeCommand {{ id }} }} }}'
    gone = buildkite.graphql(cancel)
    check(gone["data"]["jobTypeCommandCancel"]["jobTypeCommand"]["id"] == found["id"], gone)
    again = buildkite.graphql(cancel)
    check(again["errors"] and again["data"]["jobTypeCommandCancel"] is None, again)
    check(buildkite.rest("GET", f"jobs/{job}").must_be(200)["state"] == "canceled", "it is not canceled")
    return "GetJob, GetJobsUUID, getConcurrency, PipelineRecentBuildLastJobQueue, CancelJob; a second cancel is refused"


def rest_retry(buildkite):
    """A failed job is retried, once, as a new job."""
    register(buildkite, "py-retry").must_be(201)
    number, (job,) = buildkite.build("steps:\n- {command: a}\n")
    early = buildkite.rest("PUT", f"jobs/{job}/retry")
    check(400 <= early.status < 500, "a job that has not ended is retried")
    buildkite.stacks("POST", f"py-retry/jobs/{job}/finish", {"exit_status": 3, "detail": "failed"}).must_be(200)
    new = buildkite.rest("PUT", f"pipelines/{PIPELINE}/builds/{number}/jobs/{job}/retry").must_be(200)
    check(new["id"] != job and new["state"] == "scheduled", new)
    again = buildkite.rest("PUT", f"jobs/{job}/retry")
    check(400 <= again.status < 500, "a job is retried twice")
    old = buildkite.rest("GET", f"jobs/{job}").must_be(200)
    check(old["retried"] is True and old["retried_in_job_id"] == new["id"], old)
    strange = buildkite.rest("PUT", f"jobs/{job}/retry", token="bkua_unknown")
    check(strange.status == 401 and strange.body["message"], "an unknown token is no 401 with a message")
    source = buildkite.graphql(
        f'query GetJobRetryInformation {{ job(uuid: "{new["id"]}") {{ ... on JobTypeCommand {{ retrySource {{ '
        "... on JobInterface { uuid retried retryType retriedBy { email name } } } } } }"
    )["data"]["job"]["retrySource"]
    check(source["uuid"] == job and source["retryType"] == "MANUAL", source)
    done = {"exit_status": 0, "detail": "done"}
    buildkite.stacks("POST", f"py-retry/jobs/{new['id']}/finish", done).must_be(200)
    build = buildkite.rest("GET", f"pipelines/{PIPELINE}/builds/{number}").must_be(200)
    check(build["state"] == "passed", build["state"])
    return f"a new id, the old one retried into it; a second retry {again.status}; the build passes"


class Receiver:
    """Takes webhooks on loopback and keeps them as they came."""

    def __init__(self):
        kept = self.kept = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                kept.put((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def take(self, count):
        return [self.kept.get(timeout=WITHIN_S) for _ in range(count)]


def is_genuine(header, body, secret):
    """As the documents describe it: the signature over the time and the raw body, and the time not long ago."""
    parts = dict(part.strip().split("=", 1) for part in header.split(","))
    signed = parts["timestamp"].encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return (hmac.compare_digest(expected, parts["signature"])
            and abs(time.time() - int(parts["timestamp"])) < REPLAY_WINDOW_S)


def webhooks(buildkite):
    """Events of a build, by token and by signature."""
    signed, plain = Receiver(), Receiver()
    events = ["ping", "build.scheduled", "job.scheduled", "job.finished"]
    for receiver, scheme in [(signed, "signature"), (plain, "token")]:
        hook = {"url": receiver.url, "token": SECRET, "scheme": scheme, "events": events}
        call("POST", f"{buildkite.control}/webhooks", hook).must_be(201)
    register(buildkite, "py-hooks").must_be(201)
    number, (job,) = buildkite.build("steps:\n- {command: a, agents: {queue: gust, cpu: 4}}\n")
    end = {"exit_status": 0, "detail": "done"}
    buildkite.stacks("POST", f"py-hooks/jobs/{job}/finish", end).must_be(200)

    got = signed.take(4)
    for headers, body in got:
        signature = headers["X-Buildkite-Signature"]
        check(is_genuine(signature, body, SECRET), f"not genuine: {signature}")
        check(not is_genuine(signature, body + b" ", SECRET), "a changed body is genuine")
        check(not is_genuine(signature, body, "another"), "another token's signature is genuine")
        check(headers["X-Buildkite-Token"] is None, "a signed webhook brings the token along")
        check(json.loads(body)["event"] == headers["X-Buildkite-Event"], "header and body name different events")
    names = [headers["X-Buildkite-Event"] for headers, _ in got]
    check(names == events, names)
    told = json.loads(got[2][1])
    check(told["job"]["id"] == job and told["job"]["agent_query_rules"] == ["queue=gust", "cpu=4"], told["job"])
    check(told["build"]["number"] == number and told["pipeline"]["slug"] == PIPELINE, told)
    check(json.loads(got[3][1])["job"]["state"] == "passed", got[3][1])
    check(all(headers["X-Buildkite-Token"] == SECRET for headers, _ in plain.take(4)), "the token is not sent")
    return f"{', '.join(names)}: signatures fit, changed ones do not; the same by token"


SCENARIOS = [
    ("Stacks API: register and list", "pages oldest first, rate headers, documented refusals", stacks_listing),
    ("Stacks API: a job's life", "reserve, states, env, notifications, finish once, deregister", stacks_life),
    ("Stacks API: rate limit", "429 with scope and reset, then served again", stacks_rate),
    ("job acquisition token", "an agent gets its own job and no other, once", acquisition_token),
    ("GraphQL: list", "scheduled jobs with all tags asked for, in pages", graphql_list),
    ("GraphQL: cookbook, cancel", "the documents' queries are answered; canceled once", graphql_cookbook),
    ("REST: retry", "a new job, linked both ways, once", rest_retry),
    ("webhooks", "each event once, in order, with a good proof", webhooks),
]


def main():
    buildkite = Buildkite(*(argument.rstrip("/") for argument in sys.argv[1:3]))
    client = f"Python {platform.python_version()}"
    bad = False
    for scenario, expected, run in SCENARIOS:
        try:
            seen, ok = run(buildkite), True
        except Mismatch as mismatch:
            seen, ok = str(mismatch), False
        except Exception as error:  # what the program stumbles over is a finding as well
            traceback.print_exc()
            seen, ok = f"{type(error).__name__}: {error}", False
        bad |= not ok
        row = {"client": client, "scenario": scenario, "expected": expected, "seen": seen, "ok": ok}
        print(json.dumps(row), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main())
