use std::{collections::BTreeMap, io, path::Path};

use super::{Config, ConfigError, Surroundings, UnknownTags, Zones};

/// A world of a few variables and files.
#[derive(Default)]
struct World {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
}

impl World {
    fn usual() -> Self {
        Self {
            variables: [
                ("BUILDKITE_AGENT_TOKEN", "bkct_hidden"),
                ("GUST_ADMIN_TOKEN", "bkct_hidden_too"),
                ("GUST_WEBHOOK_TOKEN", "bkct_hidden_as_well"),
                ("EMPTY", ""),
                ("TWO_LINES", "bkct_hidden\nbkct_other"),
            ]
            .into(),
            files: [
                ("/etc/gust/token", "bkct_hidden\n"),
                ("/etc/gust/prices.toml", PRICES),
                ("/etc/gust/typo.toml", "[family.n2d]\nqouta = \"X\"\n"),
            ]
            .into(),
        }
    }
}

impl Surroundings for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|v| (*v).to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let path = path.to_str().unwrap();
        let text = self.files.get(path).copied();
        text.map(str::to_owned)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn process_name(&self) -> String {
        "host-1".to_owned()
    }
}

const SOURCE: &str = r#"
[[source]]
name = "main"
token = { env = "BUILDKITE_AGENT_TOKEN" }
queues = ["gust"]
"#;

const PROJECT: &str = r#"
[[project]]
id = "my-project"
regions = ["us-central1"]
service_account = "gust@my-project.iam.gserviceaccount.com"
images = { amd64 = "projects/my-project/global/images/family/gust" }
"#;

const PRICES: &str = r#"
[family.n2d.prices.europe-west4]
on_demand = { vcpu = "0.02", gib = "0.003" }
"#;

const TOP: &str = "stack = \"gust\"\ndata_dir = \"/var/lib/gust\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/gust/gust.toml"), &World::usual())
}

/// What a person reads about a broken configuration. No message may hold a secret.
pub(super) fn refused(text: &str) -> String {
    let message = parse(text).expect_err("must be refused").to_string();
    assert!(!message.contains("bkct_hidden"), "leaked: {message}");
    message
}

/// A whole configuration with more lines at its end, in its one project first.
pub(super) fn among_projects(lines: &str) -> String {
    format!("{TOP}{SOURCE}{PROJECT}{lines}")
}

/// A configuration that must be taken.
pub(super) fn taken(text: &str) {
    parse(text).expect("must be taken");
}

/// A whole configuration in which one line of a section is replaced.
fn with(section: &str, old: &str, new: &str) -> String {
    let all = format!("{TOP}{SOURCE}{PROJECT}");
    assert!(section.contains(old) && all.contains(old), "{old}");
    all.replacen(old, new, 1)
}

macro_rules! refusals {
    ($($name:ident: $text:expr;)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), refused(&$text));
            }
        )*
    };
}

refusals! {
    empty_file: "";
    no_toml: "stack = \"gust\ndata_dir = 5 5\n[[source\n";
    secret_line_without_quotes_is_not_repeated: format!("{TOP}\n[[source]]\ntoken = bkct_hidden\n");
    misspelled_keys: with(SOURCE, "token =", "tokn =").replace("data_dir", "datadir");
    unknown_key_without_a_neighbour: with(PROJECT, "id =", "colour = \"blue\"\nid =");
    caps_that_cap_nothing: format!("{TOP}{SOURCE}{PROJECT}\n[[cap]]\nname = \"a\"\n[[cap]]\nname = \"a\"\nvcpus = 0\n[[cap]]\nvcpus = 5\npipelines = [\"My Pipeline\", \"\"]\n[[cap]]\nname = \"b\"\npipelines = []\ndollars_per_day = 0\n[[cap]]\nname = \"c\"\ndolars_per_day = 5.5\n");
    twin_caps: format!("{TOP}{SOURCE}{PROJECT}\n[[cap]]\nname = \"a\"\nvcpus = 1\n[[cap]]\nname = \"a\"\nvcpus = 2\n");
    unknown_section: format!("{TOP}{SOURCE}{PROJECT}\n[limit]\nboot_timeout = \"5m\"\n");
    wrong_kinds_of_values: with(SOURCE, "queues = [\"gust\"]", "queues = \"gust\"\nendpoint = 5\nagent_token_fallback = \"yes\"");
    literal_secret: with(SOURCE, "{ env = \"BUILDKITE_AGENT_TOKEN\" }", "\"bkct_hidden\"");
    missing_variable: with(SOURCE, "BUILDKITE_AGENT_TOKEN", "NO_SUCH_VARIABLE");
    secret_in_place_of_its_variable: with(SOURCE, "BUILDKITE_AGENT_TOKEN", "bkct_hidden");
    missing_secret_file: with(SOURCE, "env = \"BUILDKITE_AGENT_TOKEN\"", "file = \"no-such-file\"");
    empty_secret: with(SOURCE, "BUILDKITE_AGENT_TOKEN", "EMPTY");
    secret_of_two_lines: with(SOURCE, "BUILDKITE_AGENT_TOKEN", "TWO_LINES");
    secret_from_two_places: with(SOURCE, "{ env", "{ file = \"token\", env");
    secret_that_is_a_number: with(SOURCE, "{ env = \"BUILDKITE_AGENT_TOKEN\" }", "12345");
    plain_http_to_another_host: with(SOURCE, "queues", "endpoint = \"http://agent.buildkite.com/v3\"\nqueues");
    url_with_password_is_not_repeated: with(SOURCE, "queues", "endpoint = \"https://u:bkct_hidden@example.com\"\nqueues");
    bad_names: with(SOURCE, "\"main\"", "\"main office\"").replace("\"gust\"\ndata", "\"Gust-In-Production\"\ndata");
    no_queue: with(SOURCE, "[\"gust\"]", "[]");
    queue_named_twice: with(SOURCE, "[\"gust\"]", "[\"gust\", \"big\", \"gust\"]");
    poll_upside_down: with(SOURCE, "queues", "poll = { min = \"6s\", max = \"5s\" }\nqueues");
    graphql_without_what_it_needs: with(SOURCE, "queues", "kind = \"graphql\"\nqueues");
    graphql_with_odd_addresses: with(SOURCE, "queues", "kind = \"graphql\"\nagent_token_fallback = true\napi = { organization = \"acme\", token = { file = \"token\" }, graphql_endpoint = \"graphql\", cluster = \"a b\" }\nqueues");
    graphql_keys_with_the_stacks_api: with(SOURCE, "queues", "api = { organization = \"acme\", token = { file = \"token\" }, cluster = \"abc\" }\nqueues");
    webhooks_half_given: format!("{TOP}{SOURCE}{PROJECT}\n[webhooks]\nlisten = \"7074\"\ntoken = \"bkct_hidden\"\npath = \"/x\"\n");
    kind_misspelled: with(SOURCE, "queues", "kind = \"stack\"\nqueues");
    bad_durations: format!("{TOP}{SOURCE}{PROJECT}\n[limits]\nboot_timeout = \"5 minutes\"\ncreate_timeout = 90\nacquire_timeout = \"2d\"\n");
    count_out_of_range: format!("{TOP}{SOURCE}{PROJECT}\n[limits]\nbulk_slots = 0\npatience = 1_000\n");
    region_of_one_word: with(PROJECT, "[\"us-central1\"]", "[\"us\"]");
    zone_given_as_region: with(PROJECT, "[\"us-central1\"]", "[\"us-central1-a\"]");
    zone_of_another_region: with(PROJECT, "[\"us-central1\"]", "{ us-central1 = [\"us-east1-b\"] }");
    region_without_zones: with(PROJECT, "[\"us-central1\"]", "{ us-central1 = [] }");
    no_region: with(PROJECT, "[\"us-central1\"]", "[]");
    project_number: with(PROJECT, "\"my-project\"", "\"123456789012\"");
    wide_service_account: with(PROJECT, "\"gust@my-project.iam.gserviceaccount.com\"", "\"default\"");
    image_of_an_unknown_architecture: with(PROJECT, "amd64 =", "amd46 =");
    label_of_gusts_own: with(PROJECT, "images", "labels = { gust-stack = \"x\", Team = \"a\", team = \"A b\" }\nimages");
    job_user_that_is_none: with(PROJECT, "images", "job_user = \"CI runner\"\nimages");
    job_user_that_is_root: with(PROJECT, "images", "job_user = \"root\"\nimages");
    family_in_small_letters: with(PROJECT, "images", "family_quotas = { c3d = 500 }\nimages");
    calls_of_zero: with(PROJECT, "images", "calls_per_minute = { writes = 0, list = 5 }\nimages");
    lists_on_the_simplified_scheme: with(PROJECT, "images", "calls_per_minute = { simplified = true, lists = 500 }\nimages");
    catalog_with_a_typing_error: format!("catalog = [\"prices.toml\", \"typo.toml\"]\n{TOP}{SOURCE}{PROJECT}");
    catalog_that_is_not_there: format!("catalog = [\"none.toml\", 5]\n{TOP}{SOURCE}{PROJECT}");
    commitments_at_odds: with(PROJECT, "images", "commitment = [{ region = \"us-central1-a\", family = \"n2d\", vcpus = 0 }]\nreservation = [{ zone = \"us-central1\", machine_type = \"n2d\", number = 4 }]\nimages");
    anonymous_to_google: with(PROJECT, "images", "credentials = \"anonymous\"\nimages");
    one_stack_key_for_two: format!("{TOP}{SOURCE}{}{PROJECT}", SOURCE.replacen("name = \"main\"", "name = \"other\"", 1));
    stack_key_too_long: with(SOURCE, "queues =", &format!("stack_key = \"{}\"\nqueues =", "k".repeat(81)));
    twins: format!("{TOP}{SOURCE}{SOURCE}{PROJECT}{PROJECT}");
    open_without_encryption: format!("listen = \"0.0.0.0:7070\"\n{TOP}{SOURCE}{PROJECT}");
    listen_without_port: format!("listen = \"127.0.0.1\"\n{TOP}{SOURCE}{PROJECT}");
    addresses_nobody_can_dial: format!("advertise = [\"0.0.0.0:7070\", \"gust\", \"host:0\", \"http://10.0.0.1:70\", \"https://gust:1/path\"]\n{TOP}{SOURCE}{PROJECT}");
    tls_half_given: format!("listen = \"10.0.0.1:7070\"\n{TOP}{SOURCE}{PROJECT}\n[tls]\ncertificate = \"gust.crt\"\n");
    default_that_is_no_tag: format!("{TOP}{SOURCE}{PROJECT}\n[defaults]\ncpus = 4\nmemory = [8]\n");
    policy_at_odds: format!("{TOP}{SOURCE}{PROJECT}\n[policy]\nunknown_tags = \"drop\"\nmax_run = \"3h\"\nmax_run_limit = \"2h\"\n[policy.allow]\nfamily = [\"n2d\"]\n");
    log_level_misspelled: format!("{TOP}{SOURCE}{PROJECT}\n[log]\nfilter = \"info,gust_cloud=debgu\"\nformat = \"xml\"\n");
    same_key_twice: format!("{TOP}stack = \"again\"\n{SOURCE}{PROJECT}");
}

#[test]
fn the_least_configuration_gets_sound_defaults() {
    let config = parse(&format!("{TOP}{SOURCE}{PROJECT}")).unwrap();
    assert_eq!(config.replica.as_str(), "host-1");
    assert!(config.listen.address.ip().is_loopback());
    let source = &config.sources[0];
    assert_eq!(source.stack_key, "gust-gust");
    assert_eq!(source.endpoint.as_str(), "https://agent.buildkite.com/v3");
    assert_eq!(source.agent_endpoint, source.endpoint);
    assert_eq!(source.token.reveal(), "bkct_hidden");
    assert!(!source.agent_token_fallback);
    let project = &config.projects[0];
    assert!(project.regions.values().all(|zones| *zones == Zones::All));
    assert!(!project.network.external_address);
    assert_eq!(config.policy.unknown_tags, UnknownTags::Refuse);
    assert_eq!(config.settings, gust_core::settings::Settings::default());
}

#[test]
fn the_example_is_read_and_shows_every_key() {
    let text = include_str!("../../../../deploy/gust.example.toml");
    let config = parse(text).unwrap();
    assert_eq!(config.projects.len(), 2);
    // Keys that are commented out are keys too: with them, the example must still be read.
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("#: ") {
            Some(key) => format!("{key}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    parse(&all).unwrap();
}

#[test]
fn the_configuration_of_the_manifests_is_read() {
    let text = include_str!("../../../../deploy/kubernetes/gust.toml");
    let text = text
        .replace("@REPLICA@", "gust-0")
        .replace("@ZONE@", "us-central1-a");
    let mut world = World::usual();
    for file in [
        "/etc/gust-secrets/buildkite/token",
        "/etc/gust-secrets/admin/token",
    ] {
        world.files.insert(file, "bkct_hidden\n");
    }
    let config = Config::parse(&text, Path::new("/etc/gust-run/gust.toml"), &world).unwrap();
    assert_eq!(config.admin.expect("an admin API").tokens.len(), 1);
    assert!(config.http.is_some() && config.cluster.is_some());
}

#[test]
fn operators_prove_who_they_are() {
    let refused = |admin: &str| {
        let text = format!("{TOP}[admin]\n{admin}\n{SOURCE}{PROJECT}");
        parse(&text).unwrap_err().to_string()
    };
    insta::assert_snapshot!(
        [
            "listen = \"127.0.0.1:0\"",
            "listen = \"0.0.0.0:7072\"\ntokens = { ann = { env = \"BUILDKITE_AGENT_TOKEN\" } }",
            "listen = \"127.0.0.1:0\"\ntokens = { ann = { env = \"EMPTY\" } }",
            "listen = \"127.0.0.1:0\"\nauthority = \"ca.crt\"",
            "listen = \"127.0.0.1:0\"\ntokens = {}\ncertificate = \"a\"",
            "listen = \"nowhere\"\ntokens = { \"an n\" = { env = \"BUILDKITE_AGENT_TOKEN\" } }",
        ]
        .map(refused)
        .join("\n---\n")
    );
}

#[test]
fn secrets_come_from_files_beside_the_configuration() {
    let text = with(SOURCE, "env = \"BUILDKITE_AGENT_TOKEN\"", "file = \"token\"");
    let config = parse(&text).unwrap();
    assert_eq!(config.sources[0].token.reveal(), "bkct_hidden");
    assert!(!format!("{config:?}").contains("bkct_hidden"));
}

#[test]
fn literal_secrets_are_taken_where_they_are_allowed() {
    let text = with(SOURCE, "{ env = \"BUILDKITE_AGENT_TOKEN\" }", "\"bkct_test\"");
    let config = parse(&format!("allow_literal_secrets = true\n{text}")).unwrap();
    assert_eq!(config.sources[0].token.reveal(), "bkct_test");
}

#[test]
fn caps_are_read_in_whole_dollars_and_parts_of_them() {
    let text = "[[cap]]\nname = \"ml\"\npipelines = [\"ml-*\"]\nvcpus = 512\ndollars_per_day = 99.5\n";
    let caps = parse(&format!("{TOP}{SOURCE}{PROJECT}{text}"))
        .unwrap()
        .settings
        .caps;
    assert_eq!(caps.len(), 1);
    assert_eq!(
        (caps[0].vcpus, caps[0].micro_usd_per_day),
        (Some(512), Some(99_500_000))
    );
    assert!(caps[0].covers("ml-train") && !caps[0].covers("web"));
}

#[test]
fn the_decided_hash_follows_decisions_and_nothing_else() {
    let base = format!("{TOP}{SOURCE}{PROJECT}");
    let hash = |text: &str| parse(text).unwrap().decided_hash();
    let same = [
        format!("replica = \"b\"\nlisten = \"127.0.0.1:9\"\n{base}\n[log]\nfilter = \"debug\"\n"),
        base.replace("/var/lib/gust", "/srv/gust"),
        with(SOURCE, "env = \"BUILDKITE_AGENT_TOKEN\"", "file = \"token\""),
        // At their defaults, as builds that do not know them have them.
        format!("{base}\n[limits]\naging = \"30m\"\nmerge_premium_percent = 0\n"),
        base.clone(),
        format!("catalog = []\n{base}"),
    ];
    for text in &same {
        assert_eq!(hash(text), hash(&base), "{text}");
    }
    let other = [
        base.replace("[\"gust\"]", "[\"gust\", \"big\"]"),
        base.replace("us-central1", "us-east1"),
        format!("{base}\n[limits]\npatience = 4\n"),
        format!("{base}\n[[cap]]\nname = \"ml\"\nvcpus = 8\n"),
        format!("catalog = [\"prices.toml\"]\n{base}"),
        with(
            PROJECT,
            "images",
            "reservation = [{ zone = \"us-central1-a\", machine_type = \"n2d-standard-16\", count = 4 }]\nimages",
        ),
        format!("{base}\n[policy]\nmax_run = \"1h\"\n"),
    ];
    for text in &other {
        assert_ne!(hash(text), hash(&base), "{text}");
    }
}

#[test]
fn an_absent_file_is_told_with_a_hint() {
    let error = Config::load(Path::new("/nowhere/gust.toml"), &World::usual()).unwrap_err();
    insta::assert_snapshot!(
        error,
        @"cannot read the configuration /nowhere/gust.toml [give the path of a TOML file with --config; deploy/gust.example.toml shows every key]"
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_value_is_read_or_refused(key in "[a-z_]{1,8}", value in "\\PC{0,20}") {
        let _ = parse(&format!("{TOP}{SOURCE}{key} = {value}\n{PROJECT}{key} = {value}\n"));
    }
}

const CLUSTER: &str = r#"
advertise = ["gust-0:7070", "gust-1:7070"]
zone = "us-central1-a"
[etcd]
endpoints = ["https://etcd-0:2379", "https://etcd-1:2379"]
user = "gust"
password = { env = "BUILDKITE_AGENT_TOKEN" }
authority = "etcd-ca.crt"
[peer]
listen = "0.0.0.0:7071"
address = "gust-0.gust:7071"
certificate = "peer.crt"
key = "peer.key"
authority = "peer-ca.crt"
"#;

/// A whole configuration of one of several replicas, in which one text is replaced.
fn among(old: &str, new: &str) -> String {
    assert!(CLUSTER.contains(old), "{old}");
    format!("{TOP}{}{SOURCE}{PROJECT}", CLUSTER.replacen(old, new, 1))
}

refusals! {
    etcd_without_peer: among("[peer]", "[piers]");
    peer_without_etcd: format!("{TOP}{SOURCE}{PROJECT}\n[peer]\nlisten = \"127.0.0.1:1\"\n[lease]\nttl = \"9s\"\n");
    etcd_in_plain_text: among("https://etcd-1", "http://etcd-1");
    etcd_without_members: among("[\"https://etcd-0:2379\", \"https://etcd-1:2379\"]", "[]");
    etcd_without_authority: among("authority = \"etcd-ca.crt\"", "certificate = \"gust.crt\"");
    etcd_user_without_password: among("password = { env = \"BUILDKITE_AGENT_TOKEN\" }", "");
    peer_without_certificates: among("certificate = \"peer.crt\"\nkey = \"peer.key\"\nauthority = \"peer-ca.crt\"", "");
    peer_address_nobody_can_dial: among("address = \"gust-0.gust:7071\"\n", "");
    machines_that_know_one_replica_only: among("advertise = [\"gust-0:7070\", \"gust-1:7070\"]\n", "");
    lease_too_short: among("[peer]", "[lease]\nttl = \"1s\"\n[peer]");
    lease_without_a_second_try: among("[peer]", "[lease]\nrenew = \"3s\"\n[peer]");
}

#[test]
fn one_of_several_replicas_is_told_where_etcd_and_its_peers_are() {
    let config = parse(&among("[peer]", "[lease]\nttl = \"8s\"\n[peer]")).unwrap();
    let cluster = config.cluster.clone().unwrap();
    assert_eq!(cluster.zone, "us-central1-a");
    assert_eq!(cluster.etcd.endpoints.len(), 2);
    let (user, password) = cluster.etcd.user.unwrap();
    assert_eq!((user.as_str(), password.reveal()), ("gust", "bkct_hidden"));
    assert_eq!(cluster.peer.address.as_deref(), Some("gust-0.gust:7071"));
    assert_eq!(cluster.timing.ttl.as_secs(), 8);
    // Where replicas are and how they talk is not what they decide by.
    let alone = parse(&format!("{TOP}{SOURCE}{PROJECT}")).unwrap();
    assert_eq!(config.decided_hash(), alone.decided_hash());
    assert!(alone.cluster.is_none());
}

/// A configuration with rules for its queue.
fn ruled(rules: &str) -> String {
    format!("{TOP}{SOURCE}{PROJECT}{rules}")
}

refusals! {
    names_that_can_never_match: ruled(r#"
[policy.allow]
families = ["n2dd", "zz"]
machine_types = ["n2d-standrd-4", "n2d-custom-6-12345", "n2d-custom-*", "q*"]
regions = ["us-centrall1"]
zones = ["us-central1-z"]
disk_types = ["pd-sdd"]
networks = ["global/networks/ci"]
images = ["a b", "x|y"]
"#);
    rules_of_nobody: ruled(r#"
[[policy.queue]]
queue = "gsut"
allow = { spot = false }
[[policy.queue]]
source = "mian"
queue = "gust"
allow = { spot = false }
[[policy.queue]]
queue = "gust"
[[policy.queue]]
alow = { spot = false }
[[policy.queue]]
queue = "gust"
allow = { famlies = ["e2"] }
[[policy.queue]]
queue = "gust"
allow = { spot = "onyl" }
"#);
    pipelines_of_nobody: ruled(r#"
[[policy.queue]]
queue = "gust"
[[policy.queue.pipeline]]
slug = "Deploy Prod"
allow = { spot = false }
[[policy.queue.pipeline]]
slug = "*-prod"
allow = { spot = false }
[[policy.queue.pipeline]]
slug = "twice"
allow = { spot = false }
[[policy.queue.pipeline]]
slug = "twice"
allow = { spot = false }
[[policy.queue.pipeline]]
slg = "deploy"
allow = { spot = false }
[[policy.queue.pipeline]]
slug = "deploy"
"#);
    rules_that_would_not_hold: ruled(r#"
[policy.allow]
families = ["e2", "n2d"]
spot = false
max_cpu = 32
[[policy.queue]]
queue = "gust"
allow = { families = ["e2", "c3d"], spot = true, max_cpu = 64, max_run_limit = "48h", regions = [] }
widen = ["famlies", "images"]
[[policy.queue.pipeline]]
slug = "deploy-*"
allow = { service_accounts = ["deploy@my-project.iam.gserviceaccount.com"], images = [] }
"#);
    limits_of_nothing: ruled(r#"
[[policy.queue]]
queue = "gust"
allow = { max_cpu = 0, max_memory = 0, max_disk = "1Mi", max_run_limit = "0s", max_local_ssd = 0 }
"#);
    rules_that_leave_nothing: ruled(r#"
[[policy.queue]]
queue = "gust"
allow = { families = ["e2"], machine_types = ["n2d-*"], regions = ["us-east4"] }
"#);
    twins_among_rules: ruled(r#"
[[policy.queue]]
queue = "gust"
allow = { spot = false }
[[policy.queue]]
queue = "gust"
allow = { spot = false }
"#);
}

#[test]
fn rules_of_queues_and_pipelines_are_read() {
    let rules = r#"
[[policy.queue]]
queue = "gust"
allow = { families = ["e2", "n2d"], max_memory = "64Gi", max_disk = 200 }
[[policy.queue.pipeline]]
slug = "deploy-*"
allow = { spot = false, service_accounts = ["deploy@my-project.iam.gserviceaccount.com"], networks = ["global/networks/default"] }
widen = ["service_accounts"]
"#;
    let config = parse(&ruled(rules)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&config.policy.queues).unwrap());
    // A rule says something else.
    assert_ne!(config.decided_hash(), parse(&ruled("")).unwrap().decided_hash());
}

#[test]
fn a_build_that_knows_no_rules_sees_the_same_policy() {
    let config = parse(&ruled("")).unwrap();
    insta::assert_snapshot!(serde_json::to_string(&config.policy).unwrap());
}

refusals! {
    rest_api_half_given: with(SOURCE, "queues", "api = { organisation = \"My Company\", token = { file = \"no-such-file\" } }\nqueues");
    rest_api_of_no_organization: with(SOURCE, "queues", "api = { organization = \"My Company\", token = \"bkct_hidden\", endpoint = \"http://api.buildkite.com\" }\nqueues");
    retry_on_demand_misspelled: ruled("[policy]\nretry_on_demand = \"allways\"\n");
}

#[test]
fn the_token_of_the_rest_api_is_read_again_and_never_shown() {
    let text = with(
        SOURCE,
        "queues",
        "api = { organization = \"acme\", token = { file = \"token\" } }\nqueues",
    );
    let config = parse(&text).unwrap();
    let api = config.sources[0].api.as_ref().expect("it is configured");
    assert_eq!(api.token_file.as_deref(), Some(Path::new("/etc/gust/token")));
    assert_eq!(api.endpoint.as_str(), "https://api.buildkite.com/v2");
    assert!(!format!("{config:?}").contains("bkct_hidden"));
    // Whether it is there changes what is decided; which token it is does not.
    let other = parse(&text.replace("file = \"token\"", "env = \"BUILDKITE_AGENT_TOKEN\"")).unwrap();
    assert_eq!(config.decided_hash(), other.decided_hash());
    assert_ne!(config.decided_hash(), parse(&ruled("")).unwrap().decided_hash());
}

#[test]
fn jobs_are_found_by_graphql_at_buildkites_own_address_and_a_gentler_pace() {
    let text = with(
        SOURCE,
        "queues",
        "kind = \"graphql\"\nagent_token_fallback = true\napi = { organization = \"acme\", token = { file = \"token\" } }\nqueues",
    );
    let config = parse(&text).unwrap();
    let source = &config.sources[0];
    assert_eq!(source.poll.min, std::time::Duration::from_secs(1));
    let api = source.api.as_ref().expect("it is configured");
    let graphql = api.graphql.as_ref().expect("with its defaults");
    assert_eq!(graphql.endpoint.as_str(), "https://graphql.buildkite.com/v1");
    assert_ne!(config.decided_hash(), parse(&ruled("")).unwrap().decided_hash());
}

#[test]
fn webhooks_change_nothing_that_is_decided() {
    let text = ruled("[webhooks]\nlisten = \"127.0.0.1:7074\"\ntoken = { env = \"GUST_WEBHOOK_TOKEN\" }\n");
    let config = parse(&text).unwrap();
    assert!(config.webhooks.is_some() && !format!("{config:?}").contains("bkct_hidden"));
    assert_eq!(config.decided_hash(), parse(&ruled("")).unwrap().decided_hash());
}
