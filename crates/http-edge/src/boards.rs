//! Boards: their list, and the stream of one to one browser.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use board::{Viewer, ViewerMessage};
use serde::Serialize;
use tracing::debug;

use crate::Parts;
use crate::error::ApiError;

/// A viewer that takes no bytes for this long is cut off; it comes back by itself.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// What a browser sends is small control text.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// The library's default would keep 128 KiB a viewer.
const READ_BUFFER_BYTES: usize = 4 << 10;

#[derive(Debug, Serialize)]
pub(crate) struct List {
    items: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Serialize)]
struct Metadata {
    name: String,
    generation: u32,
}

#[derive(Debug, Serialize)]
struct Spec {
    title: board::Text,
}

/// `/apis/lantern/v1/boards`.
pub(crate) async fn list(State(parts): State<Arc<Parts>>) -> Json<List> {
    let item = |info: board::BoardInfo| Item {
        api_version: "lantern/v1",
        kind: "Board",
        metadata: Metadata {
            name: info.name,
            generation: info.generation,
        },
        spec: Spec { title: info.title },
    };
    Json(List {
        items: parts.boards.list().into_iter().map(item).collect(),
    })
}

/// `/boards/{name}/stream`: a WebSocket for one viewer.
pub(crate) async fn stream(
    State(parts): State<Arc<Parts>>,
    Path(name): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Ok(viewer) = parts.boards.attach(&name) else {
        return ApiError::not_found(format!("there is no board '{name}'")).into_response();
    };
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(async move |socket| {
            if let Err(error) = follow(socket, viewer, &parts).await {
                debug!(board = name, %error, "A viewer went away.");
            }
        })
}

async fn follow(
    mut socket: WebSocket,
    mut viewer: Viewer,
    parts: &Parts,
) -> Result<(), axum::Error> {
    loop {
        tokio::select! {
            () = parts.closing.cancelled() => {
                return socket.send(Message::Close(None)).await;
            }
            message = viewer.next() => {
                let message = match message {
                    Some(ViewerMessage::Text(text)) => {
                        Message::Text(Utf8Bytes::try_from(text).map_err(axum::Error::new)?)
                    }
                    Some(ViewerMessage::Binary(frame)) => Message::Binary(frame),
                    None => return socket.send(Message::Close(None)).await,
                };
                // The viewer's slot keeps conflating while this waits: nobody else does.
                match tokio::time::timeout(WRITE_DEADLINE, socket.send(message)).await {
                    Ok(sent) => sent?,
                    Err(_) => return Ok(()),
                }
            }
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => viewer.on_message(&text),
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            },
        }
    }
}
