//! The service as such: what it says of itself, what it costs, how it ends.

use std::{fs, time::Duration};

use crate::{
    files,
    rig::{Service, executors, run, signal, soon},
};

#[test]
fn it_describes_itself_and_costs_little() {
    for executor in executors() {
        let service = Service::start(executor);
        let status = soon("the first pass", || {
            let status = service.json(&["status"]);
            (status["passes"].as_u64() > Some(0)).then_some(status)
        });
        assert_eq!((&status["executor"], &status["mode"]), (&executor.into(), &"dev".into()));
        assert!(!status["protections"].as_array().unwrap().is_empty(), "{status}");
        assert_eq!(status["degraded"], "");
        let memory = fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
        let rss = memory.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = rss.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kilobytes < 60 * 1024, "idle, it uses {kilobytes} kB");
    }
}

#[test]
fn asked_to_stop_bots_it_stops_them_before_it_ends() {
    for executor in executors() {
        let bots = tempfile::tempdir().unwrap();
        let dir = files::counter(bots.path(), "ends");
        let mut service = Service::start(executor);
        service.run(&["bots", "deploy", dir.to_str().unwrap(), "--wait"]);
        let pid = service.status("ends")["pid"].as_u64().unwrap();
        service.end();
        assert!(runs(pid), "kept, it runs on");
        // Served again with the other choice, by hand: the rig's services keep their bots.
        let mut child = crate::rig::dev(
            &service.dir,
            &["--listen", "127.0.0.1:0", "--executor", executor, "--on-stop", "stop"],
        )
        .spawn()
        .unwrap();
        let out = child.stdout.take().unwrap();
        let url = std::io::BufRead::lines(std::io::BufReader::new(out))
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("api")?.trim().to_owned()))
            .unwrap();
        soon("it is adopted", || {
            let shown = run(crate::rig::runtime(&["status", "--json"]).env("THE0_SERVER", &url)).out;
            let shown: serde_json::Value = serde_json::from_str(&shown).ok()?;
            (shown["units_running"] == 1).then_some(())
        });
        signal("TERM", child.id());
        soon("it ends", || child.try_wait().unwrap());
        assert!(!runs(pid), "the bot still runs");
    }
}

#[test]
fn bots_are_found_again_where_their_data_was_moved() {
    for executor in executors() {
        let home = tempfile::tempdir().unwrap();
        let dir = files::counter(home.path(), "moves");
        let [one, two] = ["one", "two"].map(|name| home.path().join(name));
        let mut service = Service::start_at(&one, executor, &[]);
        service.run(&["bots", "deploy", dir.to_str().unwrap(), "--wait"]);
        let before = service.status("moves");
        service.end();
        fs::rename(&one, &two).unwrap();
        let service = Service::start_at(&two, executor, &[]);
        let after = service.running_after("moves", 0);
        assert_eq!((&after["pid"], &after["attempt"]), (&before["pid"], &before["attempt"]), "it runs twice");
        service.run(&["bots", "rm", "--yes", "moves"]);
        assert!(!runs(before["pid"].as_u64().unwrap()));
    }
}

#[test]
fn bots_that_run_in_one_executor_are_not_started_in_the_other() {
    let [one, two] = executors()[..] else { return };
    for (first, second) in [(one, two), (two, one)] {
        let bots = tempfile::tempdir().unwrap();
        let dir = files::counter(bots.path(), "either");
        let mut service = Service::start(first);
        service.run(&["bots", "deploy", dir.to_str().unwrap(), "--wait"]);
        let pid = service.status("either")["pid"].clone();
        service.end();
        let other = ["--listen", "127.0.0.1:0", "--executor", second];
        let refused = run(&mut crate::rig::dev(&service.dir, &other));
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(refused.err.contains(&format!("1 bots run with --executor {first}")), "{refused:?}");
        // Docker is away for a moment, and what it runs is not.
        if first == "docker" {
            let auto = ["--listen", "127.0.0.1:0", "--docker-host", "unix:///nonexistent.sock"];
            let refused = run(&mut crate::rig::dev(&service.dir, &auto));
            assert_eq!(refused.code, 5, "{refused:?}");
        }
        let mut service = service.again();
        assert_eq!(service.running_after("either", 0)["pid"], pid, "it went on");
        service.run(&["bots", "stop", "either"]);
        service.end();
        let other = Service::start_at(&service.dir, second, &[]);
        other.run(&["bots", "start", "either", "--wait"]);
    }
}

#[test]
fn bots_print_a_lot_without_holding_up_anyone() {
    for executor in executors() {
        let bots = tempfile::tempdir().unwrap();
        let program = "import sys, time\ndef main(bot_id, config):\n    sys.stdout.write('x' * 3_000_000)\n    \
                       sys.stdout.buffer.write(bytes(range(256)) * 100)\n    print()\n    print('the end', flush=True)\n    \
                       time.sleep(60)\n";
        let dir = files::bot(bots.path(), "loud", program, "stop_grace_ms: 500\n");
        let service = Service::start(executor);
        service.run(&["bots", "deploy", dir.to_str().unwrap(), "--wait"]);
        soon("the last line", || {
            service.run(&["bots", "logs", "loud", "--tail", "1"]).contains("the end").then_some(())
        });
        let before = std::time::Instant::now();
        service.run(&["bots", "stop", "loud"]);
        assert!(before.elapsed() < Duration::from_secs(15), "the grace of half a second was not kept");
    }
}

#[test]
fn agents_that_no_bot_runs_are_removed_at_start() {
    for executor in executors() {
        let bots = tempfile::tempdir().unwrap();
        let dir = files::counter(bots.path(), "tools");
        let mut service = Service::start(executor);
        service.run(&["bots", "deploy", dir.to_str().unwrap(), "--wait"]);
        service.kill();
        // As after an upgrade: the bot runs the agent of before, and there is one from earlier still.
        let tools = service.dir.join("tools");
        let current = fs::read_dir(&tools).unwrap().next().unwrap().unwrap().path();
        fs::rename(&current, tools.join("before")).unwrap();
        fs::create_dir(tools.join("earlier")).unwrap();
        fs::write(tools.join("earlier/runtime"), "old").unwrap();
        let service = service.again();
        service.running_after("tools", 0);
        assert!(current.is_dir(), "the new agent is there");
        assert!(tools.join("before").is_dir(), "an agent that runs was removed");
        assert!(!tools.join("earlier").exists(), "an agent that nobody runs was kept");
    }
}

/// Whether a process is there and not just waiting to be reaped.
fn runs(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
