//! A snapshot on its way from one node to another.
//!
//! ```text
//! body = length u32 little-endian, head (see `wire_raft`), the snapshot file as it is
//! ```
//!
//! The receiver writes it to a file of its own as it comes; what it holds is checked by whoever
//! installs it. Must not know what a snapshot contains.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use futures_util::StreamExt;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as Arriving, Bytes, Frame};
use tokio::time::timeout;

use super::link::Body;
use super::wire::Message;
use super::wire_raft::SnapshotHead;
use crate::limits::{
    SNAPSHOT_FRAME_BYTES, SNAPSHOT_MAX_BYTES, SNAPSHOT_META_MAX_BYTES, SNAPSHOT_PAUSE_MAX,
};
use crate::runtime::spawn_blocking;
use crate::store::disk::{self, File};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const LENGTH_BYTES: usize = 4;

/// The body that carries `head` and `file`.
pub(super) fn outgoing(head: &SnapshotHead, file: File) -> io::Result<Body> {
    let head = head.to_wire().map_err(io::Error::other)?;
    // Bounded by the codec.
    let mut first = (head.len() as u32).to_le_bytes().to_vec();
    first.extend_from_slice(&head);
    let pieces = stream::try_unfold((file, false), |(file, begun)| async move {
        let (file, piece) = blocking(move || read_piece(file, begun)).await?;
        Ok::<_, io::Error>((!piece.is_empty()).then_some((piece, (file, true))))
    });
    let whole = stream::once(async move { Ok(Bytes::from(first)) }).chain(pieces);
    Ok(StreamBody::new(whole.map(|piece| piece.map(Frame::data))).boxed_unsync())
}

/// The next piece of `file`, empty at its end.
fn read_piece(mut file: File, begun: bool) -> io::Result<(File, Bytes)> {
    if !begun {
        file.seek(SeekFrom::Start(0))?;
    }
    let mut piece = vec![0; SNAPSHOT_FRAME_BYTES];
    let read = file.read(&mut piece)?;
    piece.truncate(read);
    Ok((file, Bytes::from(piece)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e.to_string())))
}

/// Receives what [`outgoing`] sent into a new file at `path`.
pub(super) async fn incoming<B>(
    mut body: B,
    path: PathBuf,
    check: impl Fn(&SnapshotHead) -> bool,
) -> io::Result<(SnapshotHead, File)>
where
    B: Arriving<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
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
    let mut bytes = (start.len() - head_end) as u64;
    let rest = Bytes::from(start).slice(head_end..);
    let mut file = blocking(move || write_piece(disk::create_to_read(&path)?, &rest)).await?;
    while let Some(piece) = next(&mut body).await? {
        bytes += piece.len() as u64;
        if bytes > SNAPSHOT_MAX_BYTES {
            return Err(bad("a snapshot over its limit"));
        }
        file = blocking(move || write_piece(file, &piece)).await?;
    }
    Ok((head, file))
}

fn write_piece(mut file: File, piece: &[u8]) -> io::Result<File> {
    file.write_all(piece)?;
    Ok(file)
}

async fn next<B>(body: &mut B) -> io::Result<Option<Bytes>>
where
    B: Arriving<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
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
