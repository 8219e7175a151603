//! Deliberate breakages; each was seen to make a test here fail:
//! `>=` half in place of more than half · no `more_than` · every reason counted as doubtful · the wait ignored ·
//! units of the second look stopped though the first did not want them stopped · suspicion kept after a good look ·
//! `since` not corrected when the clock steps back.

use proptest::prelude::*;
use the0_model::BotId;

use super::*;

fn plan(stops: std::ops::Range<usize>, reason: StopReason) -> Plan {
    let action = |number: usize| Action {
        unit: UnitId::bot(&BotId::new(number.to_string()).unwrap()),
        work: Work::Stop { reason, grace: Duration::ZERO },
    };
    Plan { actions: stops.map(action).collect(), ..Plan::default() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000 + seconds).unwrap()
}

/// Checks a pass that would stop these units. Returns how many stops were let through.
fn pass(guard: &mut Guard, stops: std::ops::Range<usize>, running: usize, now: i64) -> usize {
    let mut plan = plan(stops, StopReason::NotWanted);
    let verdict = guard.check(&mut plan, running, at(now));
    if let Verdict::Held { until, .. } = verdict {
        assert!(
            plan.look_again.is_some_and(|look| look <= until && look > at(now)),
            "it looks again in time"
        );
    }
    plan.actions.len()
}

#[test]
fn a_mass_stop_waits_for_a_second_look() {
    let mut guard = Guard::default();
    assert_eq!(pass(&mut guard, 0..12, 12, 0), 0);
    assert_eq!(pass(&mut guard, 0..12, 12, 4), 0, "a second look that comes early does not count");
    assert_eq!(pass(&mut guard, 0..12, 12, 5), 12);
}

#[test]
fn few_units_or_less_than_most_of_them_are_stopped_at_once() {
    assert_eq!(pass(&mut Guard::default(), 0..10, 10, 0), 10, "ten are not more than ten");
    assert_eq!(pass(&mut Guard::default(), 0..6, 12, 0), 6, "half is not more than half");
    assert_eq!(pass(&mut Guard::default(), 0..7, 12, 0), 0);
}

#[test]
fn other_reasons_are_never_held() {
    for reason in [StopReason::Changed, StopReason::NotOurs, StopReason::Overdue] {
        let mut plan = plan(0..100, reason);
        assert_eq!(Guard::default().check(&mut plan, 100, at(0)), Verdict::Clear);
        assert_eq!(plan.actions.len(), 100);
    }
}

#[test]
fn a_good_look_in_between_clears_the_suspicion() {
    let mut guard = Guard::default();
    assert_eq!(pass(&mut guard, 0..12, 12, 0), 0);
    assert_eq!(pass(&mut guard, 0..0, 12, 2), 0);
    assert_eq!(pass(&mut guard, 0..12, 12, 6), 0, "the count starts again");
    assert_eq!(pass(&mut guard, 0..12, 12, 11), 12);
}

#[test]
fn only_what_both_looks_want_stopped_is_stopped() {
    let mut guard = Guard::default();
    assert_eq!(pass(&mut guard, 0..8, 12, 0), 0);
    assert_eq!(pass(&mut guard, 1..12, 12, 5), 7);
    let mut guard = Guard::default();
    assert_eq!(pass(&mut guard, 0..10, 19, 0), 0);
    assert_eq!(pass(&mut guard, 9..19, 19, 3), 0);
    assert_eq!(pass(&mut guard, 10..20, 19, 6), 0, "nothing is common to all looks: a new suspicion");
    assert_eq!(pass(&mut guard, 10..20, 19, 11), 10);
}

#[test]
fn a_clock_stepped_back_does_not_hold_for_ever() {
    let mut guard = Guard::default();
    assert_eq!(pass(&mut guard, 0..12, 12, 900), 0);
    assert_eq!(pass(&mut guard, 0..12, 12, 0), 0);
    assert_eq!(pass(&mut guard, 0..12, 12, 5), 12);
}

#[test]
fn it_says_so() {
    let held = Guard::default().check(&mut plan(0..12, StopReason::NotWanted), 12, at(0));
    insta::assert_snapshot!(held, @"12 of 12 running units are suddenly not wanted; held until a second look agrees at 1970-01-01T00:16:45Z");
}

proptest! {
    /// Whatever the looks say: a unit is let through in a mass stop only if every look of the last five seconds and more
    /// wanted it stopped.
    #[test]
    fn nothing_is_stopped_on_one_look(looks in prop::collection::vec((0..20_usize, 0..20_usize, 0..4_i64), 1..12)) {
        let mut guard = Guard::default();
        let (mut now, mut past): (i64, Vec<(i64, std::ops::Range<usize>)>) = (0, Vec::new());
        for (from, to, wait) in looks {
            now += wait;
            let range = from..to.max(from);
            let mut plan = plan(range.clone(), StopReason::NotWanted);
            guard.check(&mut plan, 20, at(now));
            past.push((now, range.clone()));
            if range.len() > 10 {
                for action in &plan.actions {
                    let number: usize = action.unit.as_bot().unwrap().as_str().parse().unwrap();
                    let first = past.iter().rev().take_while(|(_, range)| range.contains(&number)).last().unwrap().0;
                    prop_assert!(now - first >= 5, "{number} at {now}: {past:?}");
                }
            } else {
                prop_assert_eq!(plan.actions.len(), range.len());
            }
        }
    }
}
