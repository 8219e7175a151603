use std::sync::Arc;

use the0_model::{BotId, SegmentId, UnitKind};

use super::*;
use crate::fakes;

fn unit(number: usize) -> UnitId {
    UnitId::bot(&BotId::new(number.to_string()).unwrap())
}

fn start(number: usize) -> Action {
    let spec = Arc::new(fakes::spec(&unit(number), UnitKind::Service));
    Action { unit: unit(number), work: Work::Start { spec, segment: SegmentId(1) } }
}

fn stop(number: usize, reason: StopReason) -> Action {
    Action { unit: unit(number), work: Work::Stop { reason, grace: Duration::ZERO } }
}

fn launched(in_flight: &mut InFlight) -> Vec<String> {
    std::iter::from_fn(|| in_flight.next()).map(|task| task.unit.to_string()).collect()
}

#[test]
fn each_lane_has_its_width_and_a_newer_plan_replaces_what_waits() {
    let now = Instant::now();
    let mut in_flight = InFlight::new(2);
    let stops = (3..6).map(|number| stop(number, StopReason::Changed));
    in_flight.replace((0..3).map(start).chain(stops).collect(), now);
    assert_eq!(
        launched(&mut in_flight),
        ["bot/0", "bot/1", "bot/3", "bot/4"],
        "slow starts do not keep stops waiting"
    );
    in_flight.finished(&unit(3), Done::Well, now);
    in_flight.replace(vec![stop(7, StopReason::NotWanted), stop(8, StopReason::NotOurs)], now);
    assert_eq!(launched(&mut in_flight), ["bot/8"], "what is not ours goes first; bot/5 was replaced");
    assert_eq!(in_flight.busy(now).len(), 4);
}

#[test]
fn a_failed_unit_rests_longer_every_time_and_then_no_more() {
    let (now, mut in_flight) = (Instant::now(), InFlight::new(8));
    let mut clock = now;
    let mut rests = Vec::new();
    for _ in 0..8 {
        in_flight.finished(&unit(1), Done::Failed, clock);
        assert!(in_flight.busy(clock).contains(&unit(1)));
        let until = in_flight.next_rested(clock).unwrap();
        rests.push((until - clock).as_secs());
        clock = until;
        assert!(!in_flight.busy(clock).contains(&unit(1)));
    }
    assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30, 30]);
    in_flight.finished(&unit(1), Done::Well, clock);
    in_flight.finished(&unit(1), Done::Failed, clock);
    assert_eq!(in_flight.next_rested(clock), Some(clock + Duration::from_secs(1)), "success starts it over");
}

#[test]
fn what_the_service_does_not_know_is_offered_before_the_next_start_and_given_up_in_the_end() {
    let mut clock = Instant::now();
    let mut in_flight = InFlight::new(8);
    in_flight.finished(&unit(1), Done::Untold(Outcome::Started { attempt: 3 }), clock);
    in_flight.replace(vec![], clock);
    assert!(in_flight.next().is_none(), "it rests first");
    for offer in 1.. {
        clock = in_flight.next_rested(clock).unwrap();
        in_flight.replace(vec![start(1)], clock);
        let task = in_flight.next().unwrap();
        assert!(matches!(task.job, Job::Report(Outcome::Started { attempt: 3 })), "{task:?}");
        if in_flight.finished(&unit(1), Done::Untold(Outcome::Started { attempt: 3 }), clock).is_some() {
            assert_eq!(offer, OFFERS_MAX);
            break;
        }
    }
    clock = in_flight.next_rested(clock).unwrap();
    in_flight.replace(vec![start(1)], clock);
    assert!(matches!(in_flight.next().unwrap().job, Job::Act(Work::Start { .. })));
}

#[test]
fn a_stop_does_not_wait_for_a_report() {
    let mut clock = Instant::now();
    let mut in_flight = InFlight::new(8);
    in_flight.finished(&unit(1), Done::Untold(Outcome::Started { attempt: 3 }), clock);
    clock = in_flight.next_rested(clock).unwrap();
    in_flight.replace(vec![stop(1, StopReason::NotWanted)], clock);
    assert!(matches!(in_flight.next().unwrap().job, Job::Act(Work::Stop { .. })));
    assert!(in_flight.next().is_none(), "one task for one unit");
}
