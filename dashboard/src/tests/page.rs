//! The page's files as a browser gets them.

use super::bench::{Bench, options};
use std::collections::BTreeSet;

/// Every `/page/...` and `./....js` that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split(['"', '\'']) {
        if let Some(name) = part.strip_prefix("./").filter(|name| name.ends_with(".js")) {
            found.insert(format!("/page/{name}"));
        } else if part.starts_with("/page/") && !part.contains(' ') {
            found.insert(part.to_owned());
        }
    }
    found
}

#[tokio::test]
async fn the_page_needs_nothing_but_its_own_files_and_runs_nothing_inline() {
    let bench = Bench::start(options()).await;
    let mut wanted: BTreeSet<String> = ["/".to_owned()].into();
    let mut seen = BTreeSet::new();
    while let Some(path) = wanted.pop_first() {
        let answer = bench.client.get(bench.url(&path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let headers = answer.headers().clone();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let expected = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript",
            "css" => "text/css",
            "svg" => "image/svg+xml",
            _ => "text/html",
        };
        assert!(headers["content-type"].to_str().unwrap().starts_with(expected), "{path}");
        let text = answer.text().await.unwrap();
        if !path.contains("/vendor/") {
            for outside in ["https://", "style=\"", "<script>", "innerHTML", "eval("] {
                assert!(!text.contains(outside), "{path} contains {outside}");
            }
            assert!(!text.contains(" onclick=") && !text.contains(" onload="), "{path} has a handler inline");
        }
        let again =
            bench.client.get(bench.url(&path)).header("if-none-match", headers["etag"].clone()).send().await;
        assert_eq!(again.unwrap().status(), 304, "{path}");
        let news = named(&text);
        seen.insert(path);
        wanted.extend(news.into_iter().filter(|name| !seen.contains(name)));
    }
    let served: BTreeSet<String> = crate::page::paths().map(str::to_owned).collect();
    assert_eq!(seen, served, "every file is reached, and none is missing");
}
