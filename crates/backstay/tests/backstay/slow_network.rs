//! A network between Backstay and PostgreSQL that slows down when the test says so.
//!
//! Runs on this machine are over in seconds; what others do in the middle of a run needs more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Sessions that ask and answer stay below it; streams of rows do not.
const A_FEW_ANSWERS: usize = 2_000_000;

/// It ends with the runtime of the test.
pub struct SlowNetwork {
    port: u16,
    stalled: Arc<AtomicBool>,
}

impl SlowNetwork {
    /// Before the server at that port of 127.0.0.1; streams stand still until [`flow`](Self::flow).
    pub async fn before(server: u16) -> SlowNetwork {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stalled = Arc::new(AtomicBool::new(true));
        let flag = stalled.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (up, down) = (flag.clone(), flag.clone());
                // Whoever goes takes the whole connection along, also where it stands still.
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(from_client, to_server, up) => {}
                        () = pass(from_server, to_client, down) => {}
                    }
                });
            }
        });
        SlowNetwork { port, stalled }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Streams stand still from now on.
    pub fn stall(&self) {
        self.stalled.store(true, Ordering::Relaxed);
    }

    /// Lets everything through from now on.
    pub fn flow(&self) {
        self.stalled.store(false, Ordering::Relaxed);
    }
}

/// Until one side closes.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    stalled: Arc<AtomicBool>,
) {
    let (mut buffer, mut passed) = (vec![0; 16 * 1024], 0);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        passed += read;
        while passed > A_FEW_ANSWERS && stalled.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
