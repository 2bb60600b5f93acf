//! What a site's URL says, and the way from it to an open stream.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::{Connection, Credentials, ExposeSecret, SecretString};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};
use url::Url;

use super::tls::{SslMode, handshake};
use super::wire::Wire;
use crate::error::PostgresError;

/// How long a connection may take where the URL has no `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Keepalives: a peer that is silent for two minutes and answers none of six is gone.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 6;

/// Settings that must hold before the first statement: a role may have a `statement_timeout` that
/// ends even the statement which would change it.
const FROM_THE_START: &str = "-c statement_timeout=0 -c lock_timeout=0 \
    -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0";

/// One host of the URL: where to connect to, and the name that certificates are held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A host.
    Tcp {
        /// Its name, or its address as text.
        host: String,
        /// `hostaddr`: no look-up.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
    },
    /// A directory with a socket.
    Unix {
        /// The directory.
        directory: PathBuf,
        /// The number in the socket's name.
        port: u16,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Place::Unix { .. } => write!(f, "{}", self.socket().display()),
        }
    }
}

impl Place {
    fn socket(&self) -> PathBuf {
        match self {
            Place::Unix { directory, port } => directory.join(format!(".s.PGSQL.{port}")),
            Place::Tcp { .. } => PathBuf::new(),
        }
    }
}

/// A server, a database and a user on it. Has no `Debug`: it holds the password.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// For tokio-postgres: user, password, database, options. Hosts and TLS are ours.
    config: tokio_postgres::Config,
    /// The hosts, in the order of the URL.
    pub(crate) places: Vec<Place>,
    /// How much TLS.
    pub(crate) mode: SslMode,
    /// `sslrootcert`.
    pub(crate) root: Option<PathBuf>,
    /// The password, for child processes.
    pub(crate) password: Option<SecretString>,
    timeout: Duration,
}

impl Endpoint {
    /// The endpoint of a site; `credentials` replace its user and password.
    pub(crate) fn of(
        connection: &Connection,
        credentials: Option<&Credentials>,
    ) -> Result<Endpoint, PostgresError> {
        let Connection::Postgresql { url, password } = connection else {
            return Err(PostgresError::WrongConnection);
        };
        let mut endpoint = Endpoint::parse(url)?;
        let password = match credentials {
            Some(credentials) => {
                // The database is the URL's, not the one named like the other user.
                let database = endpoint.database().to_owned();
                endpoint.config.dbname(database);
                endpoint.config.user(&credentials.user);
                Some(&credentials.password)
            }
            None => password.as_ref(),
        };
        if let Some(password) = password {
            endpoint.config.password(password.expose_secret());
            endpoint.password = Some(password.clone());
        }
        Ok(endpoint)
    }

    /// Reads a URL as libpq writes it.
    pub(crate) fn parse(text: &str) -> Result<Endpoint, PostgresError> {
        let (rest, ours) = take_our_parameters(text)?;
        let config: tokio_postgres::Config = rest.parse().map_err(|e| bad_url(&e))?;
        if config.get_password().is_some() {
            return Err(PostgresError::PasswordInUrl);
        }
        if config.get_target_session_attrs() != TargetSessionAttrs::Any
            || config.get_load_balance_hosts() != LoadBalanceHosts::Disable
        {
            return Err(PostgresError::Url {
                reason: "target_session_attrs and load_balance_hosts are not supported: a site is one server".into(),
            });
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(PostgresError::Url {
                reason: "it names no user".into(),
            });
        }
        let places = places(&config)?;
        let timeout = config.get_connect_timeout().copied();
        let mut config = config;
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        Ok(Endpoint {
            config,
            places,
            mode: ours.mode,
            root: ours.root,
            password: None,
            timeout: timeout.unwrap_or(CONNECT_TIMEOUT),
        })
    }

    /// The same server and user, another database.
    pub(crate) fn with_database(&self, database: &str) -> Endpoint {
        let mut other = self.clone();
        other.config.dbname(database);
        other
    }

    /// The user.
    pub(crate) fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// The database: the URL's, else the one named like the user.
    pub(crate) fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_else(|| self.user())
    }

    /// For the start of a session on a stream that is open: no hosts, no TLS.
    pub(crate) fn config(&self) -> tokio_postgres::Config {
        self.config.clone()
    }

    /// Settings for the start of a session: the URL's, then ours, which win.
    pub(crate) fn options(&self) -> String {
        let given = self.config.get_options().unwrap_or_default();
        format!("{given} {FROM_THE_START}")
    }

    /// How long a connection and its login may take, each.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The hosts as an error names them.
    pub(crate) fn address(&self) -> String {
        let places: Vec<String> = self.places.iter().map(Place::to_string).collect();
        places.join(", ")
    }

    /// Opens a stream to the first host that answers, up to the start of a session. `tls`: one of
    /// [`attempts`](Self::attempts).
    pub(crate) async fn connect(&self, tls: bool) -> Result<(Wire, Place), PostgresError> {
        let mut last = None;
        for place in &self.places {
            let attempt = tokio::time::timeout(self.timeout, self.connect_to(place, tls)).await;
            match attempt {
                Ok(Ok(wire)) => return Ok((wire, place.clone())),
                Ok(Err(error)) => last = Some(error),
                Err(_) => {
                    last = Some(PostgresError::Unreachable {
                        address: place.to_string(),
                        source: io::Error::new(
                            io::ErrorKind::TimedOut,
                            format!("no answer within {} s", self.timeout.as_secs()),
                        ),
                    });
                }
            }
        }
        Err(last.unwrap_or_else(|| PostgresError::Url {
            reason: "it names no host".into(),
        }))
    }

    async fn connect_to(&self, place: &Place, tls: bool) -> Result<Wire, PostgresError> {
        let unreachable = |source| PostgresError::Unreachable {
            address: place.to_string(),
            source,
        };
        let (host, address, port) = match place {
            // libpq uses no TLS there either, whatever sslmode says.
            Place::Unix { .. } => {
                let socket = UnixStream::connect(place.socket()).await;
                return socket.map(Wire::Unix).map_err(unreachable);
            }
            Place::Tcp {
                host,
                address,
                port,
            } => (host, address, *port),
        };
        let tcp = match address {
            Some(address) => TcpStream::connect((*address, port)).await,
            None => TcpStream::connect((host.as_str(), port)).await,
        };
        let mut tcp = tcp.map_err(unreachable)?;
        set_up_socket(&tcp).map_err(unreachable)?;
        if !tls {
            return Ok(Wire::Tcp(tcp));
        }
        if !server_speaks_tls(&mut tcp).await.map_err(unreachable)? {
            return match self.mode.is_strict() {
                false => Ok(Wire::Tcp(tcp)),
                true => Err(PostgresError::TlsRefused {
                    address: place.to_string(),
                    mode: self.mode.as_str(),
                }),
            };
        }
        match handshake(tcp, host, self.mode, self.root.as_deref()).await? {
            Ok(stream) => Ok(Wire::Tls(Box::new(stream))),
            Err(source) => Err(PostgresError::Tls {
                address: place.to_string(),
                source,
            }),
        }
    }

    /// Whether to try with TLS (`true`) or without, in this order.
    pub(crate) fn attempts(&self) -> &'static [bool] {
        match self.mode {
            SslMode::Disable => &[false],
            SslMode::Allow => &[false, true],
            SslMode::Prefer => &[true, false],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[true],
        }
    }
}

/// Sends PostgreSQL's SSLRequest and reads the one byte that answers it.
async fn server_speaks_tls(tcp: &mut TcpStream) -> io::Result<bool> {
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    tcp.write_all(&request).await?;
    // One byte and not more: what a man in the middle sent behind it must not be taken as the
    // beginning of the encrypted stream.
    let mut answer = [0];
    tcp.read_exact(&mut answer).await?;
    match answer[0] {
        b'S' => Ok(true),
        b'N' => Ok(false),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it does not answer as PostgreSQL does (byte {other:#04x})"),
        )),
    }
}

fn set_up_socket(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

fn places(config: &tokio_postgres::Config) -> Result<Vec<Place>, PostgresError> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let count = hosts.len().max(addresses.len());
    if (!addresses.is_empty() && !hosts.is_empty() && addresses.len() != hosts.len())
        || (ports.len() > 1 && ports.len() != count)
    {
        return Err(PostgresError::Url {
            reason: "the numbers of hosts, host addresses and ports differ".into(),
        });
    }
    if count == 0 {
        return Err(PostgresError::Url {
            reason: "it names no host".into(),
        });
    }
    let place = |i: usize| {
        let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        let address = addresses.get(i).copied();
        match (hosts.get(i), address) {
            (Some(Host::Unix(directory)), _) => Place::Unix {
                directory: directory.clone(),
                port,
            },
            (Some(Host::Tcp(host)), address) => Place::Tcp {
                host: host.clone(),
                address,
                port,
            },
            (None, address) => Place::Tcp {
                host: address.map(|a| a.to_string()).unwrap_or_default(),
                address,
                port,
            },
        }
    };
    Ok((0..count).map(place).collect())
}

/// What tokio-postgres does not know, or knows too little of.
struct OurParameters {
    mode: SslMode,
    root: Option<PathBuf>,
}

/// Takes `sslmode` and `sslrootcert` out of a URL's query and refuses what would do nothing.
fn take_our_parameters(text: &str) -> Result<(String, OurParameters), PostgresError> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err(PostgresError::Url {
            reason: "it does not begin with postgres:// or postgresql://".into(),
        });
    }
    let mut ours = OurParameters {
        mode: SslMode::Prefer,
        root: None,
    };
    let Some((front, query)) = text.split_once('?') else {
        return Ok((text.to_owned(), ours));
    };
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = decoded(pair)?;
        match key.as_str() {
            "sslmode" => ours.mode = value.parse()?,
            "sslrootcert" if value == "system" => ours.root = None,
            "sslrootcert" => ours.root = Some(PathBuf::from(value)),
            "password" => return Err(PostgresError::PasswordInUrl),
            "host"
            | "hostaddr"
            | "port"
            | "user"
            | "dbname"
            | "connect_timeout"
            | "options"
            | "target_session_attrs"
            | "load_balance_hosts" => kept.push(pair),
            _ => {
                return Err(PostgresError::Url {
                    reason: format!("the parameter {key:?} is not supported"),
                });
            }
        }
    }
    Ok((format!("{front}?{}", kept.join("&")), ours))
}

/// Key and value of one pair of a query, decoded. `+` stays what it is, as in libpq.
fn decoded(pair: &str) -> Result<(String, String), PostgresError> {
    let base = Url::parse("x://x/").map_err(|e| bad_url(&e))?;
    let mut one = base;
    one.set_query(Some(&pair.replace('+', "%2B")));
    let first = one.query_pairs().next();
    first
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .ok_or_else(|| PostgresError::Url {
            reason: "a parameter has no name".into(),
        })
}

fn bad_url(error: &dyn std::error::Error) -> PostgresError {
    let mut reason = error.to_string();
    if let Some(cause) = error.source() {
        reason = format!("{reason}: {cause}");
    }
    PostgresError::Url { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Endpoint, String> {
        Endpoint::parse(url).map_err(|e| e.to_string())
    }

    #[test]
    fn a_url_names_hosts_sockets_and_the_six_ssl_modes() {
        let e = parse("postgres://ann@db.example:6543/shop?sslmode=verify-full");
        let e = e.expect("it is a URL");
        assert_eq!((e.user(), e.database()), ("ann", "shop"));
        assert_eq!(e.mode, SslMode::VerifyFull);
        assert_eq!(e.address(), "db.example:6543");
        for socket in [
            "postgres://ann@%2Ftmp%2Fpg:6000/shop",
            "postgres://ann@/shop?host=/tmp/pg&port=6000",
        ] {
            let e = parse(socket).expect("it is a URL");
            assert_eq!(e.address(), "/tmp/pg/.s.PGSQL.6000", "{socket}");
        }
        let e = parse("postgresql://ann@a,b:7/").expect("it is a URL");
        assert_eq!((e.address().as_str(), e.database()), ("a:5432, b:7", "ann"));
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let url = format!("postgres://ann@h/d?sslmode={mode}&sslrootcert=/a%20b");
            let e = parse(&url).expect("it is a URL");
            assert_eq!(e.mode.as_str(), mode);
            assert_eq!(e.root, Some(PathBuf::from("/a b")));
        }
    }

    #[test]
    fn a_wrong_url_is_refused_and_its_password_is_not_repeated() {
        for bad in [
            "http://ann@h/d",
            "postgres://h/d",
            "postgres://ann@h:port/d",
            "postgres://ann@h/d?sslmode=maybe",
            "postgres://ann@h/d?sslcert=/x",
            "postgres://ann@h/d?target_session_attrs=read-write",
            "postgres://ann@/d",
            "postgres://ann:s3cret@h/d",
            "postgres://ann@h/d?password=s3cret",
            "postgres://ann:s3cret@h:port/d",
        ] {
            let said = parse(bad).err().expect(bad);
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}
