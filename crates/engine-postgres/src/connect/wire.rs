//! One stream to a server: TCP, TLS over it, or a Unix socket; for a task, then for a thread.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::client::TlsStream;

/// A stream as the runtime uses it.
pub(crate) enum Wire {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Wire {
    /// The same stream for a blocking thread.
    pub(crate) fn into_blocking(self) -> io::Result<BlockingWire> {
        Ok(match self {
            Wire::Tcp(tcp) => BlockingWire::Tcp(blocking_tcp(tcp)?),
            Wire::Tls(tls) => {
                let (tcp, session) = tls.into_inner();
                let stream = StreamOwned::new(session, blocking_tcp(tcp)?);
                BlockingWire::Tls(Box::new(stream))
            }
            Wire::Unix(unix) => {
                let unix = unix.into_std()?;
                unix.set_nonblocking(false)?;
                BlockingWire::Unix(unix)
            }
        })
    }
}

fn blocking_tcp(tcp: TcpStream) -> io::Result<std::net::TcpStream> {
    let tcp = tcp.into_std()?;
    tcp.set_nonblocking(false)?;
    Ok(tcp)
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Wire::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Wire::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(s) => Pin::new(s).poll_write(cx, bytes),
            Wire::Tls(s) => Pin::new(s).poll_write(cx, bytes),
            Wire::Unix(s) => Pin::new(s).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(s) => Pin::new(s).poll_flush(cx),
            Wire::Tls(s) => Pin::new(s).poll_flush(cx),
            Wire::Unix(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Wire::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Wire::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// A wire that is lent to tokio-postgres and comes back when that lets go of it.
pub(crate) struct LentWire {
    wire: Option<Wire>,
    back: Option<oneshot::Sender<Wire>>,
}

impl LentWire {
    /// Lends a wire; it arrives in the receiver when the lent one is dropped.
    pub(crate) fn lend(wire: Wire) -> (LentWire, oneshot::Receiver<Wire>) {
        let (back, returned) = oneshot::channel();
        let lent = LentWire {
            wire: Some(wire),
            back: Some(back),
        };
        (lent, returned)
    }

    fn inner(self: Pin<&mut Self>) -> io::Result<Pin<&mut Wire>> {
        match &mut self.get_mut().wire {
            Some(wire) => Ok(Pin::new(wire)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for LentWire {
    fn drop(&mut self) {
        if let (Some(wire), Some(back)) = (self.wire.take(), self.back.take()) {
            // Nobody waits for it: the wire is dropped and so closed.
            drop(back.send(wire));
        }
    }
}

impl AsyncRead for LentWire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for LentWire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner()?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_shutdown(cx)
    }
}

/// A stream as a blocking thread uses it.
pub(crate) enum BlockingWire {
    /// Plain TCP.
    Tcp(std::net::TcpStream),
    /// TLS over TCP.
    Tls(Box<StreamOwned<ClientConnection, std::net::TcpStream>>),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl BlockingWire {
    /// How long one read may wait before it answers `WouldBlock`.
    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            BlockingWire::Tcp(s) => s.set_read_timeout(Some(timeout)),
            BlockingWire::Tls(s) => s.sock.set_read_timeout(Some(timeout)),
            BlockingWire::Unix(s) => s.set_read_timeout(Some(timeout)),
        }
    }

    /// How long one write may wait.
    pub(crate) fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            BlockingWire::Tcp(s) => s.set_write_timeout(Some(timeout)),
            BlockingWire::Tls(s) => s.sock.set_write_timeout(Some(timeout)),
            BlockingWire::Unix(s) => s.set_write_timeout(Some(timeout)),
        }
    }

    /// A second handle that can close the connection under a read.
    pub(crate) fn closer(&self) -> io::Result<Closer> {
        Ok(match self {
            BlockingWire::Tcp(s) => Closer::Tcp(s.try_clone()?),
            BlockingWire::Tls(s) => Closer::Tcp(s.sock.try_clone()?),
            BlockingWire::Unix(s) => Closer::Unix(s.try_clone()?),
        })
    }
}

impl Read for BlockingWire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            BlockingWire::Tcp(s) => s.read(buf),
            BlockingWire::Tls(s) => s.read(buf),
            BlockingWire::Unix(s) => s.read(buf),
        }
    }
}

impl Write for BlockingWire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            BlockingWire::Tcp(s) => s.write(bytes),
            BlockingWire::Tls(s) => s.write(bytes),
            BlockingWire::Unix(s) => s.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            BlockingWire::Tcp(s) => s.flush(),
            BlockingWire::Tls(s) => s.flush(),
            BlockingWire::Unix(s) => s.flush(),
        }
    }
}

/// Closes a [`BlockingWire`] from another thread.
pub(crate) enum Closer {
    /// TCP, with or without TLS.
    Tcp(std::net::TcpStream),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Closer {
    /// Closes it; a read that waits in another thread ends.
    pub(crate) fn close(&self) {
        // It fails only where the connection is closed already.
        let _closed_already = match self {
            Closer::Tcp(s) => s.shutdown(Shutdown::Both),
            Closer::Unix(s) => s.shutdown(Shutdown::Both),
        };
    }
}
