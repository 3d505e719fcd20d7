//! Whose pages may ask for what.
//!
//! There is no authentication, so a page of any site that the user has open could change things here, or follow a board, through the
//! browser: it can send a POST without asking first (a "simple request", Fetch standard, 2.2.2), and a `WebSocket` anywhere. A browser
//! says with both which site the page is of (`Origin`, RFC 6454, 7); programs say nothing. What only reads needs no check: a
//! browser keeps such answers from pages of other sites, as none here allows it (CORS).
//!
//! Not here: a name that its owner lets point to this machine (DNS rebinding). Its pages are of the same origin for the browser.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refuses what changes something, and streams, to pages of other sites.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let only_reads = request.method().is_safe() && !request.headers().contains_key(header::UPGRADE);
    if only_reads || is_same(&request) {
        return next.run(request).await;
    }
    let refused = "this is for pages of this server, and for programs, which send no Origin; a proxy in between has to hand on the Host that the browser sent\n";
    (StatusCode::FORBIDDEN, refused).into_response()
}

fn is_same(request: &Request) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        // No browser.
        return true;
    };
    let host = request
        .headers()
        .get(header::HOST)
        .map(HeaderValue::as_bytes);
    let host = host.or_else(|| Some(request.uri().authority()?.as_str().as_bytes()));
    let origin = origin.to_str().unwrap_or_default().split_once("://");
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.as_bytes().eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Method;
    use axum::middleware::from_fn;
    use axum::routing::any;
    use tower::ServiceExt;

    use super::*;

    async fn status(method: &Method, origin: Option<&str>, upgrade: bool) -> StatusCode {
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri("/")
            .header(header::HOST, "127.0.0.1:8787");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        if upgrade {
            request = request.header(header::UPGRADE, "websocket");
        }
        let routes = Router::new()
            .route("/", any(async || "here"))
            .layer(from_fn(guard));
        let request = request.body(Body::empty()).unwrap();
        routes.oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn pages_of_other_sites_change_nothing_and_follow_nothing() {
        let others = ["http://evil.example", "null", "", "http://127.0.0.1:3000"];
        for (method, upgrade) in [
            (Method::POST, false),
            (Method::PUT, false),
            (Method::DELETE, false),
            (Method::GET, true),
        ] {
            for origin in others {
                let status = status(&method, Some(origin), upgrade).await;
                assert_eq!(status, StatusCode::FORBIDDEN, "{method} {origin}");
            }
            for origin in [None, Some("http://127.0.0.1:8787")] {
                let status = status(&method, origin, upgrade).await;
                assert_eq!(status, StatusCode::OK, "{method} {origin:?}");
            }
        }
        // Which the browser keeps from the page.
        let read = status(&Method::GET, Some("http://evil.example"), false).await;
        assert_eq!(read, StatusCode::OK);
    }
}
