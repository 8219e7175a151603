use proptest::prelude::*;
use the0_model::Generation;

use super::*;

const GRACE: u64 = 1_000;
/// Nothing happened but time.
const TICK: Event = Event::Looked { main: None, any_left: true };
const LEASE: LeaseFile = LeaseFile {
    deadline_boottime_ms: 5_000,
    stop_grace_ms: 500,
    generation: Generation { term: 1, step: 1 },
};

fn main_ended(ended: Ended, any_left: bool) -> Event {
    Event::Looked { main: Some(ended), any_left }
}

#[test]
fn a_bot_that_ends_by_itself_and_leaves_nothing_needs_nothing() {
    let mut supervisor = Supervisor::new(GRACE, None);
    assert_eq!(supervisor.wake_at(), None, "nothing is waited for, so nobody wakes up");
    assert_eq!(supervisor.handle(main_ended(Ended::Code(0), false), 10), []);
    assert_eq!(supervisor.finished(), Some(Ending { ended: Ended::Code(0), stop: Stop::Nobody }));
}

#[test]
fn a_request_is_passed_on_once_and_its_grace_is_honoured() {
    let mut supervisor = Supervisor::new(GRACE, None);
    assert_eq!(supervisor.handle(Event::StopRequested, 10), [Action::Terminate]);
    assert_eq!(supervisor.handle(Event::StopRequested, 900), [], "a second request changes nothing");
    assert_eq!(supervisor.wake_at(), Some(1_010));
    assert_eq!(supervisor.handle(TICK, 1_009), []);
    assert_eq!(supervisor.handle(TICK, 1_010), [Action::Kill]);
    supervisor.handle(main_ended(Ended::Signal(9), false), 1_011);
    assert_eq!(supervisor.finished(), Some(Ending { ended: Ended::Signal(9), stop: Stop::Forced }));
}

#[test]
fn a_bot_that_ends_within_its_grace_was_stopped() {
    let mut supervisor = Supervisor::new(GRACE, None);
    supervisor.handle(Event::StopRequested, 10);
    supervisor.handle(main_ended(Ended::Signal(15), false), 20);
    assert_eq!(supervisor.finished().map(|ending| ending.stop), Some(Stop::Requested));
}

#[test]
fn what_a_bot_leaves_behind_is_asked_then_killed_then_given_up() {
    let mut supervisor = Supervisor::new(GRACE, None);
    assert_eq!(supervisor.handle(main_ended(Ended::Code(0), true), 0), [Action::Terminate]);
    assert_eq!(supervisor.finished(), None);
    assert_eq!(supervisor.handle(TICK, LEFTOVERS_MS), [Action::Kill]);
    supervisor.handle(TICK, LEFTOVERS_MS + GIVE_UP_MS);
    assert_eq!(supervisor.finished().map(|ending| ending.stop), Some(Stop::Nobody));
}

#[test]
fn the_lease_ends_a_bot_and_a_late_renewal_does_not_bring_it_back() {
    let mut supervisor = Supervisor::new(60_000, Some(LEASE));
    assert_eq!(supervisor.wake_at(), Some(5_000));
    assert_eq!(supervisor.handle(TICK, 4_999), []);
    assert_eq!(supervisor.handle(TICK, 5_000), [Action::Terminate]);
    let renewed = LeaseFile { deadline_boottime_ms: 90_000, ..LEASE };
    assert_eq!(supervisor.handle(Event::Lease(renewed), 5_100), []);
    assert_eq!(supervisor.handle(TICK, 5_500), [Action::Kill]);
    supervisor.handle(main_ended(Ended::Signal(9), false), 5_501);
    assert_eq!(supervisor.finished().map(|ending| ending.stop), Some(Stop::Fenced(LEASE)));
}

#[test]
fn waking_long_after_the_deadline_kills_at_once() {
    let mut supervisor = Supervisor::new(60_000, Some(LEASE));
    assert_eq!(supervisor.handle(TICK, 1_000_000), [Action::Terminate, Action::Kill]);
}

#[test]
fn the_lease_shortens_a_long_grace() {
    let mut supervisor = Supervisor::new(60_000, Some(LEASE));
    supervisor.handle(Event::StopRequested, 4_000);
    assert_eq!(supervisor.handle(TICK, 5_000), []);
    assert_eq!(supervisor.handle(TICK, 5_500), [Action::Kill]);
}

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let event = prop_oneof![
        Just(Event::StopRequested),
        Just(TICK),
        (0u64..3_000, 0u64..1_000).prop_map(|(deadline, grace)| Event::Lease(LeaseFile {
            deadline_boottime_ms: deadline,
            stop_grace_ms: grace,
            generation: Generation::default(),
        })),
        any::<bool>().prop_map(|any_left| main_ended(Ended::Code(0), any_left)),
    ];
    proptest::collection::vec((event, 0u64..700), 0..40)
}

proptest! {
    /// The promise: whenever the supervisor is woken past a lease's last moment, the bot has been killed, or is gone.
    #[test]
    fn nothing_runs_past_its_lease(events in events(), grace in 0u64..5_000) {
        let mut supervisor = Supervisor::new(grace, None);
        let (mut now, mut asked, mut killed, mut gone) = (0, false, false, false);
        // The lease in force, by its deadline and its last moment, and whether it has run out.
        let (mut deadline, mut overdue_at, mut ran_out) = (u64::MAX, u64::MAX, false);
        for (event, pause) in events {
            now += pause;
            // Time does not stand still between events: the shell wakes it when it asked to be woken.
            while let Some(at) = supervisor.wake_at().filter(|at| *at < now) {
                for action in supervisor.handle(TICK, at) {
                    asked |= action == Action::Terminate;
                    killed |= action == Action::Kill;
                }
            }
            ran_out |= now > deadline;
            if let Event::Lease(lease) = event && !ran_out {
                (deadline, overdue_at) = (lease.deadline_boottime_ms, lease.kill_at_ms().max(now));
            }
            ran_out |= now >= deadline;
            gone |= matches!(event, Event::Looked { main: Some(_), .. });
            for action in supervisor.handle(event, now) {
                prop_assert!(action != Action::Kill || asked || gone || killed, "asked before it is killed");
                asked |= action == Action::Terminate;
                killed |= action == Action::Kill;
            }
            prop_assert!(supervisor.finished().is_none() || gone, "no end before the process ended");
            prop_assert!(asked || gone || !ran_out, "past its deadline and not asked");
            prop_assert!(killed || gone || now <= overdue_at, "past its lease and alive");
        }
    }

    /// Once the process is gone, the end is recorded within a bounded time, whatever is left behind.
    #[test]
    fn an_end_is_always_reached(events in events(), grace in 0u64..5_000) {
        let mut supervisor = Supervisor::new(grace, None);
        let mut now = 0;
        for (event, pause) in events {
            now += pause;
            supervisor.handle(event, now);
        }
        supervisor.handle(main_ended(Ended::Signal(9), true), now);
        let limit = now + LEFTOVERS_MS + GIVE_UP_MS;
        while let Some(at) = supervisor.wake_at() {
            prop_assert!(at <= limit, "{at} is later than {limit}");
            supervisor.handle(TICK, at.max(now));
        }
        prop_assert!(supervisor.finished().is_some());
    }
}
