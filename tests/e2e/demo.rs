//! The demo.

use std::process::{Command, Stdio};

use serde_json::Value;

#[test]
fn the_demo_ends_with_everything_deleted_though_one_answer_in_ten_is_faulty() {
    let output = Command::new(env!("CARGO_BIN_EXE_teardownd"))
        .args(["demo", "--tenants", "4", "--faults", "--output", "json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let demo = &serde_json::from_str::<Value>(&text).unwrap()["demo"];
    assert_eq!(demo["deleted"], 4, "{demo:#}");
    assert_eq!(demo["breaches"].as_array().unwrap().len(), 0, "{demo:#}");
    let faults = demo["faults"].as_object().unwrap();
    assert!(faults.values().all(|count| count.as_u64() > Some(0)), "{demo:#}");
    assert!(!faults.is_empty(), "{demo:#}");
}
