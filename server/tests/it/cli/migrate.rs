//! `migrate-store`: what it asks for, and what people and machines are told.

use super::handstamp;
use crate::config::written;
use serde_json::{Value as Json, json};

#[test]
fn it_waits_where_somebody_looks_or_when_it_is_told_to() {
    let ran = handstamp("migrate-store sqlite:/a sqlite:/b").run();
    assert_eq!(ran.asked, ["migrate-store sqlite:/a sqlite:/b false false false"]);
    assert!(ran.out.contains("everything is there but for what the service writes now"), "{}", ran.out);
    assert!(ran.err.contains("round 1: 15 written, 2 removed"), "{}", ran.err);
    let said = ran.failed();
    assert!(said.contains("stop the service, and run the same command again"), "{said}");
    assert!(said.contains("took 12.0 s: expect about twice that without the service"), "{said}");

    let ran = handstamp("migrate-store sqlite:/a sqlite:/b --wait --anew").run();
    assert_eq!(ran.asked, ["migrate-store sqlite:/a sqlite:/b true true false"]);
    assert!(
        ran.err.contains("Stop the service now")
            && ran.err.contains("took 12.0 s")
            && ran.err.contains("[store] url = \"sqlite:/b\"")
    );
    assert!(ran.done().starts_with("moved 7 records and 8 lines of history to sqlite:/b in "));
}

#[test]
fn a_machine_is_told_each_step_in_a_line() {
    let ran = handstamp("migrate-store sqlite:/a sqlite:/b --wait --json").run();
    let steps: Vec<Json> = ran.done().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = steps.iter().map(|step| step["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["began", "round", "stop_the_service", "last_round", "comparing", "done"]);
    assert_eq!((&steps[1]["written"], &steps[5]["digest"]), (&json!(15), &json!("0123456789abcdef01")));
    let ran = handstamp("migrate-store sqlite:/a sqlite:/b --dry-run --json").run();
    assert_eq!(ran.asked, ["migrate-store sqlite:/a sqlite:/b false false true"]);
    assert!(ran.done().contains(r#""differ":9"#));
}

#[test]
fn a_password_is_told_to_nobody() {
    let url = "postgres://me:pa55@db.internal/handstamp";
    let ran = handstamp("migrate-store sqlite:/a --wait").argument(url).run();
    assert!(ran.err.contains("warning: everybody on this machine can see the password in TO"), "{}", ran.err);
    assert!(!ran.err.contains("pa55") && !ran.out.contains("pa55") && !ran.asked.concat().contains("pa55"));
    // From a file nobody sees it.
    let file = written("address", format!("{url}\n").as_str());
    let ran = handstamp("migrate-store sqlite:/a --wait").argument(format!("@{}", file.display())).run();
    assert_eq!(ran.asked, ["migrate-store sqlite:/a postgres://***@db.internal/handstamp true false false"]);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    let ran = handstamp("migrate-store sqlite:/a").argument(format!("@{}x", file.display())).run();
    assert!(ran.failed().contains("cannot read"));
    let ran = handstamp("migrate-store sqlite:/a mysql://me:pa55@h/d").run();
    assert!(ran.asked.is_empty() && !ran.err.contains("pa55"), "{}", ran.err);
}

#[test]
fn it_is_taken_back_only_with_a_yes() {
    let ran = handstamp("migrate-store --undo sqlite:/a").run();
    assert!(ran.asked.is_empty() && ran.err.contains("would live again"), "{}", ran.err);
    let ran = handstamp("migrate-store --undo sqlite:/a --yes").run();
    assert_eq!(ran.asked, ["undo sqlite:/a"]);
    assert!(ran.err.contains("stop whatever runs on sqlite:/b"), "{}", ran.err);
    assert_eq!(ran.done(), "sqlite:/a is a store of its own again\n");
    assert!(handstamp("migrate-store").run().asked.is_empty());
    assert!(handstamp("migrate-store sqlite:/a sqlite:/b --undo sqlite:/a").run().asked.is_empty());
}
