//! Deliberate breakages; each was seen to make a test here fail:
//! - `both`: no collecting of exited units; a changed digest ignored; jobs stopped as changed; no deadline
//! - `absent`: `busy` not asked; `scope` not asked; `not_before` ignored; no promise kept (`furthest` in place of the earlier one)
//! - `unwanted`: `NotWanted` for what is not ours; an exited unit stopped in place of collected
//! - `ours`: neighbours kept; what we started ourselves dropped; no sorting
//! - `plan`: `Ordering::Less` and `Greater` exchanged (it starts what runs)
//! - `only_not_ours`: keeps everything

use proptest::{collection::vec, prelude::*};
use the0_model::{BotId, Cause, Generation, SpecDigest};

use super::*;
use crate::{executor::Owner, fakes, scope::Grant};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const ME: &str = "w1";

fn unit(number: usize) -> UnitId {
    UnitId::bot(&BotId::new(number.to_string()).unwrap())
}

fn desired(id: &UnitId, kind: UnitKind, version: u64, segment: i32) -> Desired {
    let spec = UnitSpec { restarts_requested: version, ..fakes::spec(id, kind) };
    Desired { digest: spec.digest(), spec: Arc::new(spec), segment: SegmentId(segment), not_before: None }
}

fn status(desired: &Desired, worker: &str, phase: Phase) -> UnitStatus {
    let owner = Owner {
        service: "s".into(),
        segment: desired.segment,
        worker: WorkerId::new(worker).unwrap(),
        generation: Generation::default(),
    };
    UnitStatus {
        id: desired.spec.id.clone(),
        digest: desired.digest,
        owner: Arc::new(owner),
        attempt: 1,
        phase,
        started_at: Some(NOW),
        pid: None,
    }
}

fn exited() -> Phase {
    Phase::Exited(Box::new(fakes::exit(Cause::Failed, NOW, 5)))
}

fn segments(numbers: impl IntoIterator<Item = i32>) -> Scope {
    let generation = Generation::default();
    Scope::Segments(
        numbers.into_iter().map(|segment| Grant { segment: SegmentId(segment), generation }).collect(),
    )
}

/// A world to look at, owned.
struct Scene {
    wanted: BTreeMap<UnitId, Desired>,
    observed: Vec<UnitStatus>,
    scope: Scope,
    busy: BTreeSet<UnitId>,
    memory: Memory,
}

impl Scene {
    fn new(wanted: impl IntoIterator<Item = Desired>, observed: Vec<UnitStatus>) -> Self {
        Self {
            wanted: wanted.into_iter().map(|desired| (desired.spec.id.clone(), desired)).collect(),
            observed,
            scope: segments([1]),
            busy: BTreeSet::new(),
            memory: Memory::default(),
        }
    }

    fn plan_at(&self, now: Timestamp) -> Plan {
        plan(&World {
            wanted: &self.wanted,
            observed: &self.observed,
            scope: &self.scope,
            known: Some(&self.scope),
            busy: &self.busy,
            memory: &self.memory,
            now,
        })
    }

    fn text(&self) -> String {
        self.plan_at(NOW).to_string()
    }
}

const SERVICE: UnitKind = UnitKind::Service;
const JOB: UnitKind = UnitKind::Job { deadline_ms: 60_000 };

#[test]
fn a_plan_reads_as_one_line() {
    let bots: [Desired; 7] = std::array::from_fn(|number| desired(&unit(number), SERVICE, 0, 1));
    let old = Desired { digest: SpecDigest([0; 32]), ..bots[1].clone() };
    let late = Desired { not_before: Some(after(NOW, Duration::from_secs(8))), ..bots[3].clone() };
    let observed = vec![
        status(&old, ME, Phase::Running),
        status(&bots[2], ME, exited()),
        status(&bots[4], ME, Phase::Running),
        status(&bots[5], ME, Phase::Running),
        status(&Desired { segment: SegmentId(2), ..bots[6].clone() }, ME, Phase::Running),
    ];
    let [first, second, third, _, fifth, ..] = bots;
    let scene = Scene::new([first, second, third, late, fifth], observed);
    insta::assert_snapshot!(scene.text(), @"starts=[bot/0] stops=[bot/1(changed), bot/5(not wanted), bot/6(not ours)] collects=[bot/2(failed)] waiting=[bot/3 until 1970-01-01T00:00:08Z]");
    assert_eq!(scene.plan_at(NOW).look_again, Some(after(NOW, Duration::from_secs(8))));
    assert_eq!(Scene::new([], vec![]).text(), "nothing to do");
}

#[test]
fn a_long_list_is_cut_short() {
    let text = Scene::new((0..25).map(|number| desired(&unit(number), SERVICE, 0, 1)), vec![]).text();
    assert!(text.ends_with(", and 5 more]"), "{text}");
}

#[test]
fn a_job_runs_once_with_what_it_was_started_with_and_not_beyond_its_deadline() {
    let job = desired(&unit(1), JOB, 1, 1);
    let before = Desired { digest: SpecDigest([0; 32]), ..job.clone() };
    let running = Scene::new([job.clone()], vec![status(&before, ME, Phase::Running)]);
    let plan = running.plan_at(NOW);
    let deadline = after(NOW, Duration::from_mins(1));
    assert_eq!((plan.to_string().as_str(), plan.look_again), ("nothing to do", Some(deadline)));
    assert_eq!(running.plan_at(deadline).to_string(), "stops=[bot/1(overdue)]");
    let ended = Scene::new([job.clone()], vec![status(&job, ME, exited())]);
    assert_eq!(ended.plan_at(deadline).to_string(), "collects=[bot/1(failed)]");
}

#[test]
fn busy_units_are_left_alone() {
    let [a, b, c, d] = std::array::from_fn(|number| desired(&unit(number), SERVICE, 0, 1));
    let changed = Desired { digest: SpecDigest([0; 32]), ..d.clone() };
    let observed =
        vec![status(&b, ME, exited()), status(&c, ME, Phase::Running), status(&changed, ME, Phase::Running)];
    let mut scene = Scene::new([a, b, d], observed);
    assert_eq!(scene.plan_at(NOW).actions.len(), 4);
    scene.busy = (0..4).map(unit).collect();
    assert_eq!(scene.text(), "nothing to do");
}

#[test]
fn units_of_a_lost_scope_are_stopped_whatever_the_store_says() {
    let wanted = desired(&unit(1), SERVICE, 0, 1);
    let absent = desired(&unit(2), SERVICE, 0, 1);
    let ended = desired(&unit(3), SERVICE, 0, 1);
    let observed = vec![status(&wanted, ME, Phase::Running), status(&ended, ME, exited())];
    let mut scene = Scene::new([wanted, absent], observed);
    scene.scope = segments([]);
    assert_eq!(scene.text(), "stops=[bot/1(not ours), bot/3(not ours)]");
}

#[test]
fn what_is_not_known_stops_only_what_is_not_ours() {
    let ours = desired(&unit(1), SERVICE, 0, 1);
    let theirs = desired(&unit(2), SERVICE, 0, 2);
    let ended = desired(&unit(3), SERVICE, 0, 1);
    let observed = vec![
        status(&ours, ME, Phase::Running),
        status(&theirs, ME, Phase::Running),
        status(&ended, ME, exited()),
    ];
    let plan = Scene::new([], observed).plan_at(NOW);
    // The end of a unit that nobody wants any more is an end all the same.
    assert_eq!(plan.to_string(), "stops=[bot/1(not wanted), bot/2(not ours)] collects=[bot/3(failed)]");
    assert_eq!(plan.only_not_ours().to_string(), "stops=[bot/2(not ours)]");
}

#[test]
fn a_half_started_unit_is_started_to_its_end() {
    let wanted = desired(&unit(1), SERVICE, 0, 1);
    let mut scene = Scene::new([wanted.clone()], vec![status(&wanted, ME, Phase::Starting)]);
    assert_eq!(scene.text(), "starts=[bot/1]");
    scene.wanted.clear();
    assert_eq!(scene.text(), "stops=[bot/1(not wanted)]");
}

#[test]
fn units_found_running_in_a_new_scope_are_adopted_once() {
    let (old, new) = (desired(&unit(1), SERVICE, 0, 1), desired(&unit(2), SERVICE, 0, 2));
    let observed = vec![status(&old, ME, Phase::Running), status(&new, "w2", Phase::Running)];
    let mut scene = Scene::new([old, new], observed);
    scene.scope = segments([1, 2]);
    let before = segments([1]);
    let look = |known| {
        let Scene { wanted, observed, scope, busy, memory } = &scene;
        plan(&World { wanted, observed, scope, known, busy, memory, now: NOW }).to_string()
    };
    assert_eq!(look(None), "adopts=[bot/1, bot/2]");
    assert_eq!(look(Some(&before)), "adopts=[bot/2]");
    assert_eq!(look(Some(&scene.scope)), "nothing to do");
}

#[test]
fn a_start_put_off_absurdly_far_comes_after_the_longest_backoff() {
    let far = Some(after(NOW, Duration::from_hours(365 * 24)));
    let mut scene = Scene::new([Desired { not_before: far, ..desired(&unit(1), SERVICE, 0, 1) }], vec![]);
    let first = scene.plan_at(NOW);
    let promised = after(NOW, Backoff::UNITS.most);
    assert_eq!(first.look_again, Some(promised));
    scene.memory.promised = first.promised;
    let soon = after(NOW, Duration::from_secs(299));
    assert_eq!(scene.plan_at(soon).look_again, Some(promised), "the promise does not move");
    assert_eq!(scene.plan_at(promised).to_string(), "starts=[bot/1]");
}

#[test]
fn a_stop_grace_outlives_the_wish() {
    let mut patient = desired(&unit(1), SERVICE, 0, 1);
    patient.spec = Arc::new(UnitSpec { stop_grace_ms: 120_000, ..(*patient.spec).clone() });
    let mut scene = Scene::new([patient.clone()], vec![status(&patient, ME, Phase::Running)]);
    let grace_of = |scene: &Scene| match &scene.plan_at(NOW).actions[..] {
        [Action { work: Work::Stop { grace, .. }, .. }] => grace.as_secs(),
        other => panic!("{other:?}"),
    };
    scene.memory.learn(&scene.wanted, &scene.observed);
    scene.wanted.clear();
    scene.memory.learn(&scene.wanted, &scene.observed);
    assert_eq!(grace_of(&scene), 120);
    scene.memory.learn(&scene.wanted, &[]);
    assert_eq!(grace_of(&scene), 30, "forgotten once it is gone");
}

#[test]
fn neighbours_are_left_alone_and_order_is_made() {
    let (a, b, c) = (
        desired(&unit(1), SERVICE, 0, 1),
        desired(&unit(2), SERVICE, 0, 2),
        desired(&unit(3), SERVICE, 0, 2),
    );
    let found = vec![
        status(&c, "w2", Phase::Running),
        status(&b, ME, Phase::Running),
        status(&a, "w2", Phase::Running),
    ];
    let me = WorkerId::new(ME).unwrap();
    let ids = |units: Vec<UnitStatus>| units.into_iter().map(|unit| unit.id).collect::<Vec<_>>();
    assert_eq!(ids(ours(found.clone(), &segments([1]), &me)), [unit(1), unit(2)]);
    let all = Scope::All { generation: Generation::default() };
    assert_eq!(ids(ours(found, &all, &me)), [unit(1), unit(2), unit(3)]);
}

/// A unit as a test sees it: wanted in this version or not, and there in this one or not.
type Pair = (Option<(u64, bool)>, Option<(u64, u8, bool)>);

fn pairs() -> impl Strategy<Value = Vec<Pair>> {
    let wanted = prop::option::weighted(0.7, (0..2_u64, any::<bool>()));
    let there = prop::option::weighted(0.7, (0..2_u64, 0..3_u8, any::<bool>()));
    vec((wanted, there), 0..12)
}

fn scene_of(pairs: &[Pair]) -> Scene {
    let kind = |number: usize| if number.is_multiple_of(3) { JOB } else { SERVICE };
    let mut scene = Scene::new([], vec![]);
    for (number, (wanted, there)) in pairs.iter().enumerate() {
        let id = unit(number);
        if let Some((version, late)) = wanted {
            let not_before = late.then(|| after(NOW, Duration::from_secs(30)));
            scene
                .wanted
                .insert(id.clone(), Desired { not_before, ..desired(&id, kind(number), *version, 1) });
        }
        if let Some((version, phase, ours)) = there {
            let phase = [Phase::Starting, Phase::Running, exited()][usize::from(*phase)].clone();
            scene.observed.push(status(
                &desired(&id, kind(number), *version, if *ours { 1 } else { 2 }),
                ME,
                phase,
            ));
        }
    }
    scene.observed.sort_by(|a, b| a.id.cmp(&b.id));
    scene
}

/// Does what a plan says, as an executor and a service would. Returns the jobs that were started.
fn carry_out(scene: &mut Scene, plan: Plan) -> Vec<UnitId> {
    let mut jobs = Vec::new();
    for Action { unit, work } in plan.actions {
        let place = scene.observed.binary_search_by(|there| there.id.cmp(&unit));
        match work {
            Work::Start { spec, segment } => {
                let desired = Desired { digest: spec.digest(), spec, segment, not_before: None };
                match place {
                    Ok(place) => {
                        assert_eq!(scene.observed[place].phase, Phase::Starting, "{unit} was there already");
                        scene.observed[place].phase = Phase::Running;
                    }
                    Err(place) => scene.observed.insert(place, status(&desired, ME, Phase::Running)),
                }
                if desired.spec.kind != SERVICE {
                    jobs.push(unit);
                }
            }
            Work::Adopt { .. } => {}
            Work::Stop { .. } => {
                assert!(
                    !matches!(scene.observed[place.unwrap()].phase, Phase::Exited(_))
                        || !scene.wanted.contains_key(&unit)
                );
                scene.observed.remove(place.unwrap());
            }
            Work::Collect { .. } => {
                assert!(matches!(scene.observed[place.unwrap()].phase, Phase::Exited(_)), "{unit} still ran");
                scene.observed.remove(place.unwrap());
                // The service wants a job no more once it knows that it ended.
                if scene.wanted.get(&unit).is_some_and(|desired| desired.spec.kind != SERVICE) {
                    scene.wanted.remove(&unit);
                }
            }
        }
    }
    jobs
}

proptest! {
    #[test]
    fn two_passes_reach_what_is_wanted_and_a_third_does_nothing(pairs in pairs()) {
        let mut scene = scene_of(&pairs);
        let later = after(NOW, Duration::from_secs(30));
        for _ in 0..2 {
            let plan = scene.plan_at(later);
            carry_out(&mut scene, plan);
        }
        let third = scene.plan_at(later);
        prop_assert!(third.actions.is_empty() && third.waiting.is_empty(), "{third}");
        let there: Vec<&UnitId> = scene.observed.iter().map(|unit| &unit.id).collect();
        prop_assert_eq!(there, scene.wanted.keys().collect::<Vec<_>>());
        for unit in &scene.observed {
            prop_assert_eq!(&unit.phase, &Phase::Running);
            let wanted = &scene.wanted[&unit.id];
            prop_assert!(unit.digest == wanted.digest || wanted.spec.kind != SERVICE);
        }
    }

    #[test]
    fn a_job_is_never_started_twice(
        pairs in pairs(),
        ends in vec((0..12_usize, 0..12_usize), 0..8),
    ) {
        let mut scene = scene_of(&pairs);
        let mut started: BTreeSet<UnitId> =
            scene.observed.iter().filter(|unit| unit.phase != Phase::Starting).map(|unit| unit.id.clone()).collect();
        let lost: BTreeSet<UnitId> = scene
            .observed
            .iter()
            .filter(|unit| unit.owner.segment != SegmentId(1))
            .map(|unit| unit.id.clone())
            .collect();
        for (step, (first, last)) in ends.into_iter().enumerate() {
            for there in &mut scene.observed {
                if (first..last).any(|number| there.id == unit(number)) && there.phase == Phase::Running {
                    there.phase = exited();
                }
            }
            let plan = scene.plan_at(after(NOW, Duration::from_secs(step as u64)));
            let mut touched = BTreeSet::new();
            for action in &plan.actions {
                prop_assert!(touched.insert(action.unit.clone()), "two actions for one unit: {plan}");
            }
            for job in carry_out(&mut scene, plan) {
                prop_assert!(started.insert(job.clone()) || lost.contains(&job), "{job} was started twice");
            }
        }
    }

    #[test]
    fn nothing_starts_before_its_moment_and_the_moment_is_not_slept_through(pairs in pairs()) {
        let scene = scene_of(&pairs);
        let plan = scene.plan_at(NOW);
        for (id, desired) in &scene.wanted {
            let absent = scene.observed.iter().all(|there| there.id != *id);
            let starts = plan.actions.iter().any(|action| action.unit == *id && matches!(action.work, Work::Start { .. }));
            if let (true, Some(moment)) = (absent, desired.not_before) {
                prop_assert!(!starts && plan.look_again.is_some_and(|look| look <= moment), "{plan}");
            }
        }
    }
}
