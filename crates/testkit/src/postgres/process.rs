//! The postmaster as a process: starting, signals, and its end with the test.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::installation::{Account, command};

/// How long a server may take to start (crash recovery included) or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running postmaster.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
    data: PathBuf,
}

impl Postmaster {
    /// Starts a server and waits until it takes connections; the log's end is the reason when not.
    pub(super) fn start(
        program: &Path,
        account: Option<Account>,
        data: &Path,
        log: &Path,
    ) -> Result<Self, String> {
        let output = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(log)
            .expect("the server's log can be written");
        let child = command(program, account)
            .arg("-D")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log has a second handle"))
            .stderr(output)
            // Ctrl-C and a runner's time limit are for the test; the watchdog then stops the server.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("{} cannot be run: {e}", program.display()));
        let mut postmaster = Postmaster {
            child,
            data: data.to_owned(),
        };
        postmaster.wait_until_ready(log)?;
        Ok(postmaster)
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while !self.is_ready() {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return Err(format!("it ended at once ({status}):\n{}", tail(log)));
            }
            if Instant::now() > until {
                self.signal("KILL");
                return Err(format!("not ready after {PATIENCE:?}:\n{}", tail(log)));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// As pg_ctl sees it: line 1 of the file is the pid (after a crash an older one), line 8 the state.
    fn is_ready(&self) -> bool {
        let Ok(text) = fs::read_to_string(self.data.join("postmaster.pid")) else {
            return false;
        };
        let mut lines = text.lines();
        lines.next() == Some(&self.pid().to_string())
            && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops by a signal: INT is PostgreSQL's *fast*, QUIT its *immediate*.
    pub(super) fn stop(mut self, signal: &str) {
        // A paused one cannot hear anything else.
        self.signal_all("CONT");
        self.signal(signal);
        let until = Instant::now() + PATIENCE;
        while self
            .child
            .try_wait()
            .expect("a child can be waited for")
            .is_none()
        {
            if Instant::now() > until {
                self.kill();
                return;
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// SIGKILL to the postmaster and all its processes, as if the machine had stopped.
    pub(super) fn kill(mut self) {
        // While the postmaster stands still it can start no more of them.
        self.signal("STOP");
        let processes = self.children();
        self.signal_all("KILL");
        self.child.wait().expect("a child can be waited for");
        // A new server refuses to start while an old process holds the shared memory.
        let until = Instant::now() + PATIENCE;
        while processes.iter().any(|pid| is_alive(*pid)) {
            assert!(
                Instant::now() < until,
                "processes of a killed server are still there"
            );
            sleep(Duration::from_millis(2));
        }
    }

    /// Makes everything stand still: connections stay open and nothing answers.
    pub(super) fn pause(&self) {
        // The postmaster first: it then starts no process that the list would miss.
        self.signal("STOP");
        self.signal_all("STOP");
    }

    /// Lets everything go on.
    pub(super) fn resume(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, signal: &str) {
        let mut pids = vec![self.pid()];
        pids.extend(self.children());
        send(signal, &pids);
    }

    fn signal(&self, signal: &str) {
        send(signal, &[self.pid()]);
    }

    fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }
}

fn send(signal: &str, pids: &[u32]) {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    // One that has ended meanwhile is no error.
    Command::new("sh")
        .arg("-c")
        .arg(format!("kill -{signal} {} 2>/dev/null", pids.join(" ")))
        .status()
        .expect("sh can be run");
}

fn is_alive(pid: u32) -> bool {
    // A zombie, which nobody may have collected yet, has no program any more.
    fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Cleans up after a test however it ends, SIGKILL included: a shell that waits for its standard
/// input to close, which the kernel does for every dead process.
#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Guards the server in `home/data`; at the end `home` is removed.
    pub(super) fn over(home: &Path) -> Self {
        let child = Command::new("sh")
            .arg("-c")
            .arg(include_str!("watchdog.sh"))
            .arg("watchdog")
            .arg(home)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh can be run");
        Watchdog(child)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}
