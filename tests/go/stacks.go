// A stack made with Buildkite's public Go client of the Stacks API, against a running fake Buildkite.
//
// Usage: stacks CONTROL_URL BUILDKITE_URL
//
// Does with that client what a scheduler does, and prints one JSON object a line for each thing tried: client, scenario,
// expected, seen, ok. Ends with 1 if anything was not as it must be. Uses nothing of gust.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/buildkite/stacksapi"
)

const (
	key   = "go-stack"
	queue = "gust"
	token = "bkct_fake"
)

// A world is the client and the fake's control surface.
type world struct {
	client  *stacksapi.Client
	control string
}

// A scenario returns what was seen, or what was wrong.
type scenario struct {
	name, expected string
	run            func(context.Context, *world) (string, error)
}

var scenarios = []scenario{
	{"register", "connected; the same again; a wrong token 401", register},
	{"list", "both jobs, in two pages, with tags, build and priority", list},
	{"reserve and states", "reserved and hidden from the list", reserve},
	{"job's env", "command and env; an unknown job is 404", job},
	{"notifications", "taken; one without text refused by its index", notify},
	{"finish", "finished once with -1; the second is refused", finish},
	{"rate limit", "429s are waited out by the client", rate},
	{"deregister", "gone: listing is 404", deregister},
}

// The jobs of the one build, and what they are called.
var jobs []string

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: stacks CONTROL_URL BUILDKITE_URL")
		os.Exit(2)
	}
	base, err := url.Parse(os.Args[2] + "/v3/")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	client, err := stacksapi.NewClient(token, stacksapi.WithBaseURL(base))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w, failed := &world{client, os.Args[1]}, false
	for _, s := range scenarios {
		seen, err := s.run(ctx, w)
		if err != nil {
			seen, failed = err.Error(), true
		}
		row := map[string]any{
			"client":   "stacksapi " + stacksapi.Version + " (" + runtime.Version() + ")",
			"scenario": s.name, "expected": s.expected, "seen": seen, "ok": err == nil,
		}
		if err := json.NewEncoder(os.Stdout).Encode(row); err != nil {
			os.Exit(2)
		}
	}
	if failed {
		os.Exit(1)
	}
}

// status is the status of a refusal, 0 for anything else.
func status(err error) int {
	var refusal *stacksapi.ErrorResponse
	if errors.As(err, &refusal) {
		return refusal.Response.StatusCode
	}
	return 0
}

func register(ctx context.Context, w *world) (string, error) {
	request := stacksapi.RegisterStackRequest{Key: key, Type: stacksapi.StackTypeCustom, QueueKey: queue}
	first, header, err := w.client.RegisterStack(ctx, request)
	if err != nil {
		return "", err
	}
	again, _, err := w.client.RegisterStack(ctx, request)
	if err != nil {
		return "", err
	}
	if first.ID != again.ID || first.ClusterQueueKey != queue || first.State != stacksapi.StackStateConnected {
		return "", fmt.Errorf("%+v, then %+v", first, again)
	}
	if header.Get("RateLimit-Remaining") == "" {
		return "", errors.New("no header RateLimit-Remaining")
	}
	base, _ := url.Parse(os.Args[2] + "/v3/")
	stranger, err := stacksapi.NewClient("bkct_unknown", stacksapi.WithBaseURL(base))
	if err != nil {
		return "", err
	}
	if _, _, err := stranger.RegisterStack(ctx, request); status(err) != 401 {
		return "", fmt.Errorf("an unknown token: %v", err)
	}
	return fmt.Sprintf("%s, queue %s; the same again; 401", first.State, first.ClusterQueueKey), nil
}

// build makes a build over the control surface.
func (w *world) build(ctx context.Context, steps string) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, "POST", w.control+"/builds?pipeline=go", strings.NewReader(steps))
	if err != nil {
		return nil, err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != 201 {
		return nil, fmt.Errorf("%s: %s (%v)", reply.Status, text, err)
	}
	var build struct {
		Jobs []struct {
			UUID string `json:"uuid"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal(text, &build); err != nil {
		return nil, err
	}
	var ids []string
	for _, one := range build.Jobs {
		ids = append(ids, one.UUID)
	}
	return ids, nil
}

const steps = `steps:
- { command: echo hi, key: first, env: { K: V }, agents: { queue: gust, cpu: 8 } }
- { command: echo ho, priority: 5 }
`

func list(ctx context.Context, w *world) (string, error) {
	var err error
	if jobs, err = w.build(ctx, steps); err != nil {
		return "", err
	}
	request := stacksapi.ListScheduledJobsRequest{StackKey: key, ClusterQueueKey: queue, PageSize: 1}
	var seen []stacksapi.ScheduledJob
	pages := 0
	for {
		page, _, err := w.client.ListScheduledJobs(ctx, request)
		if err != nil {
			return "", err
		}
		pages++
		seen = append(seen, page.Jobs...)
		if page.ClusterQueue.ID == "" || page.ClusterQueue.Paused {
			return "", fmt.Errorf("queue %+v", page.ClusterQueue)
		}
		if !page.PageInfo.HasNextPage {
			break
		}
		request.StartCursor = page.PageInfo.EndCursor
	}
	if len(seen) != 2 || seen[0].ID != jobs[0] || seen[1].ID != jobs[1] {
		return "", fmt.Errorf("listed %+v, created %v", seen, jobs)
	}
	first := seen[0]
	rules := strings.Join(first.AgentQueryRules, " ")
	if rules != "queue=gust cpu=8" || first.Step.Key != "first" || first.Pipeline.Slug != "go" ||
		first.Build.Number != 1 || first.ScheduledAt.IsZero() || seen[1].Priority != 5 {
		return "", fmt.Errorf("%+v", seen)
	}
	return fmt.Sprintf("%d jobs in %d pages; %s; priority 5", len(seen), pages, rules), nil
}

func reserve(ctx context.Context, w *world) (string, error) {
	stranger := "00000000-0000-4000-8000-000000000000"
	got, _, err := w.client.BatchReserveJobs(ctx, stacksapi.BatchReserveJobsRequest{
		StackKey: key, JobUUIDs: []string{jobs[0], stranger}, ReservationExpirySeconds: 300,
	})
	if err != nil {
		return "", err
	}
	if len(got.Reserved) != 1 || got.Reserved[0] != jobs[0] || len(got.NotReserved) != 1 {
		return "", fmt.Errorf("%+v", got)
	}
	page, _, err := w.client.ListScheduledJobs(ctx, stacksapi.ListScheduledJobsRequest{StackKey: key, ClusterQueueKey: queue})
	if err != nil {
		return "", err
	}
	if len(page.Jobs) != 1 || page.Jobs[0].ID != jobs[1] {
		return "", fmt.Errorf("still listed: %+v", page.Jobs)
	}
	states, _, err := w.client.GetJobStates(ctx, stacksapi.GetJobStatesRequest{StackKey: key, JobUUIDs: jobs})
	if err != nil {
		return "", err
	}
	if states.States[jobs[0]] != "reserved" || states.States[jobs[1]] != "scheduled" {
		return "", fmt.Errorf("%+v", states)
	}
	return "1 reserved, 1 not; states reserved and scheduled", nil
}

func job(ctx context.Context, w *world) (string, error) {
	got, _, err := w.client.GetJob(ctx, stacksapi.GetJobRequest{StackKey: key, JobUUID: jobs[0]})
	if err != nil {
		return "", err
	}
	if got.ID != jobs[0] || got.Command != "echo hi" || got.Env["K"] != "V" || got.Env["BUILDKITE_JOB_ID"] != jobs[0] {
		return "", fmt.Errorf("%+v", got)
	}
	_, _, err = w.client.GetJob(ctx, stacksapi.GetJobRequest{StackKey: key, JobUUID: "nothing.of-the-kind"})
	if status(err) != 404 {
		return "", fmt.Errorf("an unknown job: %v", err)
	}
	return strconv.Quote(got.Command) + ", " + strconv.Itoa(len(got.Env)) + " variables; 404", nil
}

func notify(ctx context.Context, w *world) (string, error) {
	said, _, err := w.client.CreateStackNotifications(ctx, stacksapi.CreateStackNotificationsRequest{
		StackKey: key,
		Notifications: []stacksapi.StackNotification{
			{JobUUID: jobs[0], Detail: "machine asked for", Timestamp: time.Now()},
			{JobUUID: jobs[0]},
		},
	})
	if err != nil {
		return "", err
	}
	if len(said.Errors) != 1 || len(said.Errors[0].Indexes) != 1 || said.Errors[0].Indexes[0] != 1 {
		return "", fmt.Errorf("%+v", said)
	}
	return fmt.Sprintf("1 taken; %v: %s", said.Errors[0].Indexes, said.Errors[0].Error), nil
}

func finish(ctx context.Context, w *world) (string, error) {
	request := stacksapi.FinishJobRequest{StackKey: key, JobUUID: jobs[0], ExitStatus: -1, Detail: strings.Repeat("é ", 4096)}
	if _, err := w.client.FinishJob(ctx, request); err != nil {
		return "", err
	}
	_, err := w.client.FinishJob(ctx, request)
	refused := status(err)
	if refused < 400 || refused >= 500 {
		return "", fmt.Errorf("a second finish: %v", err)
	}
	states, _, err := w.client.GetJobStates(ctx, stacksapi.GetJobStatesRequest{StackKey: key, JobUUIDs: jobs[:1]})
	if err != nil {
		return "", err
	}
	if states.States[jobs[0]] != "finished" {
		return "", fmt.Errorf("%+v", states)
	}
	return fmt.Sprintf("finished, with a detail cut to 4 KB by the client; again: %d", refused), nil
}

func rate(ctx context.Context, w *world) (string, error) {
	request := stacksapi.ListScheduledJobsRequest{StackKey: key, ClusterQueueKey: queue}
	refused := 0
	for range 15 {
		if _, _, err := w.client.ListScheduledJobs(ctx, request, stacksapi.WithNoRetry()); status(err) == 429 {
			refused++
		} else if err != nil {
			return "", err
		}
	}
	if refused == 0 {
		return "", errors.New("15 lists in a row are all served")
	}
	if _, _, err := w.client.ListScheduledJobs(ctx, request); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of 15 refused with 429; with the client's repeats it is served", refused), nil
}

func deregister(ctx context.Context, w *world) (string, error) {
	done := stacksapi.FinishJobRequest{StackKey: key, JobUUID: jobs[1], Detail: "nothing to do"}
	if _, err := w.client.FinishJob(ctx, done); err != nil {
		return "", err
	}
	if _, err := w.client.DeregisterStack(ctx, key); err != nil {
		return "", err
	}
	_, _, err := w.client.ListScheduledJobs(ctx, stacksapi.ListScheduledJobsRequest{StackKey: key, ClusterQueueKey: queue})
	if status(err) != 404 {
		return "", fmt.Errorf("listing afterwards: %v", err)
	}
	return "gone; listing is 404", nil
}
