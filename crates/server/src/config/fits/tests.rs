use super::super::tests::{among_projects, refused};

/// What a person reads about lines of the one project.
fn told(lines: &str) -> String {
    refused(&among_projects(lines))
}

#[test]
fn places_that_the_catalog_lacks_are_told_together_with_their_lines() {
    let text = told(
        "[[project]]\nid = \"other-project\"\nregions = { europe-west4 = [\"europe-west4-a\", \"europe-west4-z\"], mars1 = [\"mars1-a\"] }\nservice_account = \"a@b.c\"\nimages = { amd64 = \"x\" }\n[[project]]\nid = \"third-project\"\nregions = [\"us-centrall1\", \"us-east4\"]\nservice_account = \"a@b.c\"\nimages = { amd64 = \"x\" }\n",
    );
    insta::assert_snapshot!(text);
}

#[test]
fn quotas_of_families_that_hold_nothing_are_told() {
    insta::assert_snapshot!(told(
        "family_quotas = { C3D = 500, N2X = 5, N2 = 4, E2 = 8, C4E = 1 }\n"
    ));
}

#[test]
fn what_is_paid_for_where_nothing_runs_is_told() {
    let lines = r#"
[[project.commitment]]
region = "us-east4"
family = "n2d"
vcpus = 64
memory = 256
[[project.commitment]]
region = "us-central1"
family = "n2e"
vcpus = 64
memory = 256
[[project.commitment]]
region = "us-central1"
family = "a2"
vcpus = 64
memory = 256
[[project.reservation]]
zone = "us-east4-a"
machine_type = "n2d-standard-16"
count = 4
[[project.reservation]]
zone = "us-central1-a"
machine_type = "n2d-standard-15"
count = 4
[[project.reservation]]
zone = "us-central1-z"
machine_type = "n2d-standard-16"
count = 4
"#;
    insta::assert_snapshot!(told(lines));
}

#[test]
fn defaults_that_no_job_could_run_with_are_told() {
    let told = |lines: &str| told(&format!("[defaults]\n{lines}\n"));
    let all = [
        "family = \"n2x|n2d\"\ndisk-type = \"pd-balancd\"",
        "cpu = 3",
        "cpu = \"many\"\narch = \"sparc\"",
        "cpu = 2\nmemory = \"4Ti\"",
        "cpu = 4\nfamily = \"t2a\"\narch = \"amd64\"",
    ];
    insta::assert_snapshot!(all.map(told).join("\n"));
}

#[test]
fn defaults_that_go_with_a_number_a_job_writes_are_taken() {
    for lines in [
        "memory = 900",
        "family = \"n2d\"\nspot = \"prefer\"",
        "cpu = 2\nmemory = 8",
    ] {
        super::super::tests::taken(&among_projects(&format!("[defaults]\n{lines}\n")));
    }
}
