//! An S3 server in the test's process: real HTTP, real signatures, files below.
//!
//! It is `s3s-fs`, with what it lacks mended in [`files`].

mod files;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use files::Files;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The one bucket that is there.
const BUCKET: &str = "backups";
const KEY: &str = "AKIDBACKSTAYTESTS";
const SECRET: &str = "s3-secret-of-tests-Zx81qPw0";

const WELL: u8 = 0;
const ERRS: u8 = 1;
const HANGS: u8 = 2;
const DAWDLES: u8 = 3;

/// How long a slow server thinks about each request.
const THOUGHT: Duration = Duration::from_millis(150);

/// A server with one bucket; it ends with the test.
pub struct S3Server {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
    folder: TempDir,
}

struct State {
    service: S3Service,
    overwrites: Arc<AtomicBool>,
    mood: AtomicU8,
    requests: AtomicUsize,
}

impl S3Server {
    /// Starts one on a free port of this machine, served by the runtime of the caller.
    pub async fn start() -> S3Server {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let overwrites = Arc::new(AtomicBool::new(false));
        let files = Files::new(folder.path(), overwrites.clone());
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let state = Arc::new(State {
            service: service.build(),
            overwrites,
            mood: AtomicU8::new(WELL),
            requests: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, state.clone()));
        S3Server {
            address,
            state,
            accepting,
            folder,
        }
    }

    /// The URL of a vault in its bucket.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The options of a vault in it.
    pub fn options(&self) -> BTreeMap<String, String> {
        let options = [
            ("endpoint", self.endpoint()),
            ("region", "eu-central-1".to_owned()),
            ("access_key_id", KEY.to_owned()),
            ("secret_access_key", SECRET.to_owned()),
        ];
        options.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// The secret that must be found nowhere.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// Its bucket as a plain client of it has it, without anything of the product.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_region("eu-central-1")
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET)
            .build();
        Arc::new(store.unwrap())
    }

    /// Where the objects of the bucket lie as files.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }

    /// From now on every request is answered with 503.
    pub fn err(&self) {
        self.state.mood.store(ERRS, Ordering::SeqCst);
    }

    /// From now on no request is answered.
    pub fn hang(&self) {
        self.state.mood.store(HANGS, Ordering::SeqCst);
    }

    /// From now on every answer takes its time.
    pub fn dawdle(&self) {
        self.state.mood.store(DAWDLES, Ordering::SeqCst);
    }

    /// From now on a put writes although it asks not to where an object is: some servers that call
    /// themselves S3 do.
    pub fn overwrite(&self) {
        self.state.overwrites.store(true, Ordering::SeqCst);
    }

    /// As ever again.
    pub fn heal(&self) {
        self.state.mood.store(WELL, Ordering::SeqCst);
        self.state.overwrites.store(false, Ordering::SeqCst);
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Connections end with the set, and the set with this task.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        let state = state.clone();
        let answer = service_fn(move |request| answer(state.clone(), request));
        connections.spawn(async move {
            // A client that goes away is no failure of the server.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(connection), answer)
                .await;
        });
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let mood = state.mood.load(Ordering::SeqCst);
    match mood {
        ERRS => return Ok(unavailable()),
        HANGS => std::future::pending().await,
        DAWDLES => tokio::time::sleep(THOUGHT).await,
        _ => {}
    }
    match state.service.call(request.map(Body::from)).await {
        Ok(answer) => Ok(answer),
        Err(error) => panic!("the S3 server of the test failed: {error:?}"),
    }
}

fn unavailable() -> Response<Body> {
    let text = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>told so by the test</Message></Error>";
    let mut answer = Response::new(Body::from(text.to_owned()));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}
