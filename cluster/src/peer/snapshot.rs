//! A snapshot on its way from one node to another.
//!
//! ```text
//! body = length u32 little-endian, head (see `wire_raft`), the snapshot file as it is
//! ```
//!
//! The receiver writes it to a file of its own as it comes; what it holds is checked by whoever
//! installs it. Must not know what a snapshot contains.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use futures_util::StreamExt;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::link::Body;
use super::wire::Message;
use super::wire_raft::SnapshotHead;
use crate::limits::{
    SNAPSHOT_FRAME_BYTES, SNAPSHOT_MAX_BYTES, SNAPSHOT_META_MAX_BYTES, SNAPSHOT_PAUSE_MAX,
};

const LENGTH_BYTES: usize = 4;
/// Pieces read ahead of the network.
const READ_AHEAD: usize = 2;

/// The body that carries `head` and `file`.
pub(super) fn outgoing(head: &SnapshotHead, file: File) -> io::Result<Body> {
    let head = head.to_wire().map_err(io::Error::other)?;
    // Bounded by the codec.
    let mut first = (head.len() as u32).to_le_bytes().to_vec();
    first.extend_from_slice(&head);
    let (pieces, mut ahead) = mpsc::channel(READ_AHEAD);
    spawn_blocking(move || read_pieces(file, &pieces));
    let rest = stream::poll_fn(move |cx| ahead.poll_recv(cx));
    let whole = stream::once(async move { Ok(Bytes::from(first)) }).chain(rest);
    Ok(StreamBody::new(whole.map(|piece| piece.map(Frame::data))).boxed_unsync())
}

fn read_pieces(mut file: File, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    if let Err(e) = file.seek(SeekFrom::Start(0)) {
        // Whoever read them may have given up.
        let _ = pieces.blocking_send(Err(e));
        return;
    }
    loop {
        let mut piece = vec![0; SNAPSHOT_FRAME_BYTES];
        let read = file.read(&mut piece);
        let last = !matches!(read, Ok(n) if n > 0);
        let piece = read.map(|n| {
            piece.truncate(n);
            Bytes::from(piece)
        });
        let ended = matches!(&piece, Ok(piece) if piece.is_empty());
        if ended || pieces.blocking_send(piece).is_err() || last {
            return;
        }
    }
}

/// Receives what [`outgoing`] sent into a new file at `path`.
pub(super) async fn incoming(
    mut body: Incoming,
    path: PathBuf,
    check: impl Fn(&SnapshotHead) -> bool,
) -> io::Result<(SnapshotHead, File)> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut start = Vec::new();
    let head_end = loop {
        if let Some(length) = start.first_chunk::<LENGTH_BYTES>() {
            let length = u32::from_le_bytes(*length) as usize;
            if length > SNAPSHOT_META_MAX_BYTES {
                return Err(bad("a head over its limit"));
            }
            if start.len() >= LENGTH_BYTES + length {
                break LENGTH_BYTES + length;
            }
        }
        let piece = next(&mut body).await?.ok_or_else(|| bad("cut short"))?;
        start.extend_from_slice(&piece);
    };
    let head = SnapshotHead::from_wire(&start[LENGTH_BYTES..head_end]).map_err(io::Error::other)?;
    if !check(&head) {
        return Err(bad("a snapshot that the sender may not send"));
    }
    let open = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    let mut file = tokio::fs::File::from_std(open);
    file.write_all(&start[head_end..]).await?;
    let mut bytes = (start.len() - head_end) as u64;
    while let Some(piece) = next(&mut body).await? {
        bytes += piece.len() as u64;
        if bytes > SNAPSHOT_MAX_BYTES {
            return Err(bad("a snapshot over its limit"));
        }
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    Ok((head, file.into_std().await))
}

async fn next(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    loop {
        let frame = timeout(SNAPSHOT_PAUSE_MAX, body.frame()).await;
        match frame.map_err(|_| io::ErrorKind::TimedOut)? {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
