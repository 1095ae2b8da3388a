//! Markdown of annotations as HTML. Raw HTML is shown as text, and links lead to web pages only.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};

/// The HTML of a Markdown text, safe to put into a page.
pub(in crate::buildkite) fn html(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let safe = Parser::new_ext(markdown, options).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Link {
            link_type,
            dest_url: harmless(dest_url),
            title,
            id,
        }),
        Event::Start(Tag::Image {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Image {
            link_type,
            dest_url: harmless(dest_url),
            title,
            id,
        }),
        other => other,
    });
    let mut out = String::new();
    html::push_html(&mut out, safe);
    out
}

fn harmless(url: CowStr<'_>) -> CowStr<'_> {
    let known = ["http://", "https://", "mailto:", "/", "#"];
    if known
        .iter()
        .any(|start| url.to_ascii_lowercase().starts_with(start))
    {
        url
    } else {
        CowStr::Borrowed("#")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_rendered_and_html_in_it_is_shown_as_text() {
        assert_eq!(
            html("a **b** `<c>`"),
            "<p>a <strong>b</strong> <code>&lt;c&gt;</code></p>\n"
        );
        let hostile = html("<script>alert(1)</script>\n\n<b onclick=x>y</b> [z](javascript:alert(1))");
        assert!(
            !hostile.contains("<script") && !hostile.contains("<b ") && !hostile.contains("javascript:"),
            "{hostile}"
        );
    }
}
