//! A server that stands for Azure Blob Storage (Azurite): a process of its own that ends with the test.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::set_up::{SET_UP, cache};

/// The one container that is there.
const CONTAINER: &str = "backups";

/// Azurite's well-known account, which is no secret.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A blob server that checks signatures; it keeps everything in memory.
pub struct AzureServer {
    process: Process,
}

impl AzureServer {
    /// Starts one on a free port, with one container.
    pub fn start() -> AzureServer {
        let program = installed("node_modules/azurite/dist/src/blob/main.js");
        let process = Process::start(|port| {
            let mut node = Command::new("node");
            node.arg(&program)
                .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
                .args(["--inMemoryPersistence", "--skipApiVersionCheck", "--silent"])
                .arg("--disableTelemetry");
            node
        });
        let made = Command::new("node")
            .args(["-e", include_str!("emulators/make_container.js")])
            .args([&process.address.to_string(), ACCOUNT, KEY, CONTAINER])
            .output()
            .unwrap();
        assert!(made.status.success(), "no container was made: {made:?}");
        AzureServer { process }
    }

    /// The URL of a vault in its container.
    pub fn url(&self, prefix: &str) -> String {
        format!("az://{CONTAINER}/{prefix}")
    }

    /// The options of a vault in it.
    pub fn options(&self) -> BTreeMap<String, String> {
        let options = [
            ("account", ACCOUNT.to_owned()),
            ("access_key", KEY.to_owned()),
            (
                "endpoint",
                format!("http://{}/{ACCOUNT}", self.process.address),
            ),
        ];
        options.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

/// A server's process; it is killed when the test ends.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts it on a port that was free a moment ago; where somebody was quicker, on another one.
    fn start(command: impl Fn(u16) -> Command) -> Process {
        for _ in 0..5 {
            let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let mut command = command(address.port());
            command.stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let child = command.spawn();
            let child =
                child.unwrap_or_else(|e| panic!("{command:?} did not start ({e}): {SET_UP}"));
            let mut process = Process { child, address };
            if process.listens() {
                return process;
            }
        }
        panic!("{:?} never listened", command(0));
    }

    fn listens(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed(file: &str) -> PathBuf {
    let path = cache().join("emulators").join(file);
    assert!(path.exists(), "no {}, {SET_UP}", path.display());
    path
}
