//! A network between a client and a server of the test, with what can become of a connection: it is
//! reset, half closed, slow, or nothing passes any more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How often a connection on which nothing passes looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Both sides are told that it is gone. It is the only one.
    Reset,
    /// The receiver is told that nothing more comes, the sender notices nothing. It is the only one.
    HalfClose,
    /// Nothing passes any more, on no connection, and no new one is answered, until all is well again.
    Hang,
    /// Every connection is reset, and every new one refused, until all is well again.
    Down,
    /// Each piece of at most 16 KiB takes so long, on every connection, until all is well again.
    Slow(Duration),
}

/// Whose bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The client's.
    ToServer,
    /// The server's.
    FromServer,
}

/// It ends with the test.
pub struct Network {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    passed: [AtomicU64; 2],
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    /// What is to come, when so many bytes have passed that way.
    next: Option<(Way, u64, Trouble)>,
    struck: bool,
    hangs: bool,
    is_down: bool,
    pause: Duration,
}

/// The connection is gone at once, in both directions.
struct Gone;

impl Network {
    /// Before the server at that port of 127.0.0.1, served by the runtime of the caller.
    pub async fn before(server: u16) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let accepting = tokio::spawn(accept(listener, server, state.clone()));
        Network {
            port,
            state,
            accepting,
        }
    }

    /// Where clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Counts anew, and strikes where so many bytes have passed that way, on all connections together.
    pub fn strike(&self, trouble: Trouble, way: Way, after: u64) {
        self.heal();
        self.state.script().next = Some((way, after, trouble));
    }

    /// All is well again, and nothing is to come; counts anew.
    pub fn heal(&self) {
        for passed in &self.state.passed {
            passed.store(0, Ordering::SeqCst);
        }
        *self.state.script() = Script::default();
    }

    /// Whether the trouble that was to come has come.
    pub fn struck(&self) -> bool {
        self.state.script().struck
    }

    /// How many bytes have passed that way since the last count began.
    pub fn passed(&self, way: Way) -> u64 {
        self.state.passed[way as usize].load(Ordering::SeqCst)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of these bytes still pass, and what happens behind them.
    fn count(&self, way: Way, bytes: u64) -> (u64, Option<Trouble>) {
        let mut script = self.script();
        let before = self.passed[way as usize].fetch_add(bytes, Ordering::SeqCst);
        match script.next {
            Some((at_way, after, trouble)) if at_way == way && before + bytes >= after => {
                script.next = None;
                script.struck = true;
                match trouble {
                    Trouble::Hang => script.hangs = true,
                    Trouble::Down => script.is_down = true,
                    Trouble::Slow(pause) => script.pause = pause,
                    Trouble::Reset | Trouble::HalfClose => {}
                }
                (after.saturating_sub(before), Some(trouble))
            }
            _ => (bytes, None),
        }
    }

    /// Waits as long as the network is slow or hangs.
    async fn may_pass(&self) -> Result<(), Gone> {
        let pause = self.script().pause;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        loop {
            {
                let script = self.script();
                if script.is_down {
                    return Err(Gone);
                }
                if !script.hangs {
                    return Ok(());
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn accept(listener: TcpListener, server: u16, state: Arc<State>) {
    // Connections end with the set, and the set with this task.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(client, server, state.clone()));
    }
}

async fn connection(mut client: TcpStream, server: u16, state: Arc<State>) {
    let reached = match state.may_pass().await {
        Ok(()) => TcpStream::connect(("127.0.0.1", server)).await.ok(),
        Err(Gone) => None,
    };
    let Some(mut server) = reached else {
        return reset(&client);
    };
    let passed = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::try_join!(
                pass(from_client, to_server, Way::ToServer, &state),
                pass(from_server, to_client, Way::FromServer, &state),
            )
        };
        tokio::select! {
            ended = both => ended.map(drop),
            gone = until_down(&state) => Err(gone),
        }
    };
    if passed.is_err() {
        reset(&client);
        reset(&server);
    }
}

async fn until_down(state: &State) -> Gone {
    while !state.script().is_down {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Gone
}

fn reset(connection: &TcpStream) {
    // One that is gone already needs no reset.
    let _ = connection.set_zero_linger();
}

/// Passes on what comes until the sender has no more.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    state: &State,
) -> Result<(), Gone> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(_) => return Err(Gone),
        };
        state.may_pass().await?;
        let (passing, trouble) = state.count(way, read as u64);
        let passing = usize::try_from(passing).unwrap();
        to.write_all(&buffer[..passing]).await.map_err(|_| Gone)?;
        match trouble {
            None => {}
            Some(Trouble::Reset | Trouble::Down) => return Err(Gone),
            Some(Trouble::HalfClose) => {
                to.shutdown().await.map_err(|_| Gone)?;
                while matches!(from.read(&mut buffer).await, Ok(1..)) {}
                return Ok(());
            }
            Some(Trouble::Hang | Trouble::Slow(_)) => {
                state.may_pass().await?;
                to.write_all(&buffer[passing..read])
                    .await
                    .map_err(|_| Gone)?;
            }
        }
    }
    // The other side may have shut down first.
    let _ = to.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every byte with the same; a network before it.
    async fn echo() -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        Network::before(port).await
    }

    async fn said(stream: &mut TcpStream, bytes: usize) -> std::io::Result<Vec<u8>> {
        stream.write_all(&vec![7; bytes]).await?;
        let mut back = vec![0; bytes];
        stream.read_exact(&mut back).await?;
        Ok(back)
    }

    async fn connected(network: &Network) -> TcpStream {
        TcpStream::connect(("127.0.0.1", network.port()))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn what_is_well_passes_and_is_counted() {
        let network = echo().await;
        let mut stream = connected(&network).await;
        assert_eq!(said(&mut stream, 100_000).await.unwrap(), vec![7; 100_000]);
        assert_eq!(network.passed(Way::ToServer), 100_000);
        assert_eq!(network.passed(Way::FromServer), 100_000);
        assert!(!network.struck());
    }

    #[tokio::test]
    async fn a_reset_comes_at_its_byte_and_once() {
        let network = echo().await;
        network.strike(Trouble::Reset, Way::FromServer, 1000);
        let mut stream = connected(&network).await;
        assert!(said(&mut stream, 900).await.is_ok());
        let mut back = Vec::new();
        stream.write_all(&[7; 900]).await.unwrap();
        let broken = stream.read_to_end(&mut back).await.unwrap_err();
        assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(network.struck() && back.len() <= 100, "{}", back.len());
        assert!(said(&mut connected(&network).await, 5000).await.is_ok());
    }

    #[tokio::test]
    async fn a_half_close_ends_one_direction() {
        let network = echo().await;
        network.strike(Trouble::HalfClose, Way::FromServer, 10);
        let mut stream = connected(&network).await;
        stream.write_all(&[7; 50]).await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert_eq!(back.len(), 10);
        stream.write_all(&[7; 50]).await.unwrap();
        while network.passed(Way::ToServer) < 100 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    #[tokio::test]
    async fn a_network_that_hangs_goes_on_when_healed() {
        let network = echo().await;
        network.strike(Trouble::Hang, Way::ToServer, 20);
        let mut stream = connected(&network).await;
        let mut other = connected(&network).await;
        stream.write_all(&[7; 50]).await.unwrap();
        let mut back = vec![0; 50];
        while !network.struck() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let soon = Duration::from_millis(100);
        let nothing = tokio::time::timeout(soon, said(&mut other, 10)).await;
        assert!(nothing.is_err(), "on no connection");
        network.heal();
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, [7; 50]);
    }

    #[tokio::test]
    async fn a_network_that_is_down_refuses_new_connections_too() {
        let network = echo().await;
        let mut before = connected(&network).await;
        assert!(said(&mut before, 10).await.is_ok());
        network.strike(Trouble::Down, Way::ToServer, 1);
        let mut stream = connected(&network).await;
        assert!(said(&mut stream, 10).await.is_err());
        assert!(said(&mut before, 10).await.is_err());
        assert!(said(&mut connected(&network).await, 10).await.is_err());
        network.heal();
        assert!(said(&mut connected(&network).await, 10).await.is_ok());
    }
}
