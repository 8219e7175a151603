use serde_json::json;

use super::*;

#[test]
fn enabled_bots_become_units_and_a_sick_one_stops_no_other() {
    let mut off = bot("off", "python3.11");
    off.enabled = Some(false);
    let bots = [bot("good", "python3.11"), bot("bad", "cobol"), off, bot("native", "gcc13")];
    let built = build(&bots, &BTreeMap::new());
    let wanted: Vec<_> = built.wanted.keys().map(ToString::to_string).collect();
    assert_eq!(wanted, ["bot/good"]);
    let refused: Vec<_> =
        built.refused.iter().map(|(bot, why)| (bot.as_str(), why.contains("custom.config"))).collect();
    assert_eq!(refused, [("bad", true), ("native", true)]);
    let desired = &built.wanted[&UnitId::new("bot/good").unwrap()];
    assert_eq!(
        (desired.digest, desired.segment),
        (bots[0].unit_spec().unwrap().digest(), bots[0].segment_id)
    );
}

#[test]
fn a_bot_waits_only_with_the_specification_it_failed_with() {
    let mut bots = [bot("b", "python3.11")];
    let until = Timestamp::from_second(1_800_000_000).unwrap();
    let status = BotStatus {
        spec_digest: Some(bots[0].unit_spec().unwrap().digest().to_string()),
        not_before: Some(until),
        ..BotStatus::default()
    };
    let held = BTreeMap::from([(bots[0].id.clone(), Held::of(&status).unwrap())]);
    let not_before = |bots: &[Bot]| build(bots, &held).wanted.into_values().next().unwrap().not_before;
    assert_eq!(not_before(&bots), Some(until));
    bots[0].runtime.restarts_requested += 1;
    assert_eq!(not_before(&bots), None);
}

fn bot(name: &str, runtime: &str) -> Bot {
    serde_json::from_value(json!({
        "id": name, "segment_id": 3, "config": {}, "custom": {"filePath": "x", "config": {"runtime": runtime}}
    }))
    .unwrap()
}
