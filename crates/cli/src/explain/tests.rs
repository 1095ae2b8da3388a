use super::*;

fn nobody() -> Asker<'static> {
    Asker {
        queue: "",
        pipeline: "",
    }
}

fn explained(rules: &[&str]) -> Result<String, String> {
    let planner = Planner::anywhere().expect("the catalog is a good one");
    let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
    let explained = planner.explain(nobody(), &rules)?;
    Ok(text::explained(&explained, planner.catalog(), 5))
}

#[test]
fn offers_are_ranked_and_the_rest_says_why_not() {
    let text = explained(&["cpu=16", "memory=64", "region=us-central1"]);
    insta::assert_snapshot!("offers", text.expect("there are offers"));
}

#[test]
fn spot_is_preferred_and_on_demand_comes_second() {
    let rules = [
        "cpu=8+16",
        "memory=64",
        "local-ssd=1",
        "family=n2d|c3d",
        "spot=prefer",
        "region=us-central1|us-east4",
    ];
    insta::assert_snapshot!("spot", explained(&rules).expect("there are offers"));
}

#[test]
fn what_no_machine_can_be_says_what_could() {
    insta::assert_snapshot!(
        "impossible",
        explained(&["cpu=1", "memory=700"]).expect_err("there is none")
    );
    insta::assert_snapshot!(
        "unreadable",
        explained(&["cpu=many", "memori=4"]).expect_err("no number")
    );
}

#[test]
fn without_an_operator_nobody_is_said_to_have_refused() {
    let refused = [
        "image=family/ci",
        "service-account=a@b.iam.gserviceaccount.com",
        "cache=warm",
        "backend=process",
    ];
    insta::assert_snapshot!("nobody", explained(&refused).expect_err("none is allowed"));
}

#[test]
fn a_price_that_stands_in_is_marked() {
    let text = explained(&["machine-type=c4a-standard-4", "region=us-west3"]);
    insta::assert_snapshot!("borrowed", text.expect("there is one"));
}

#[test]
fn programs_read_the_same() {
    let planner = Planner::anywhere().expect("the catalog is a good one");
    let rules = ["machine-type=e2-standard-4", "region=europe-west4"].map(str::to_owned);
    let explained = planner.explain(nobody(), &rules).expect("there is one");
    insta::assert_snapshot!("json", json::explained(&explained, planner.catalog()));
}

#[test]
fn a_list_that_was_cut_does_not_pretend_to_know_how_many_there_are() {
    let all = explained(&["cpu=2+64"]).expect("there are offers");
    assert!(all.contains("and at least 59 more, dearer"), "{all}");
    let few = explained(&["cpu=16", "memory=64", "family=e2|n2|n2d"]).expect("there are offers");
    assert!(
        few.contains(" more, dearer") && !few.contains("at least"),
        "{few}"
    );
}
