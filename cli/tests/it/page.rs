//! The page of the observatory in a real browser, of real processes.

use crate::browser::{Browser, find};
use crate::support::Root;
use crate::web::Server;
use laneway::Queue;
use laneway::mailbox::Post;

/// Of the agents, by name: what a person reads beside the node.
const NODE: &str = "(name) => document.querySelector(`.node[data-name=\"${name}\"]`)";

#[test]
fn agents_and_their_mail_are_shown_while_they_come_work_die_and_come_back() {
    let Some(chromium) = find() else { return };
    let root = Root::new();
    let (web, mut page) = (Server::observatory(&root, &[]), Browser::start(&chromium));
    page.size(1440, 900, false);
    page.open(&web.url);
    page.until("document.querySelector('#empty:not([hidden])')?.innerText.includes('laneway post backend')");
    page.eval(&format!("void (window.node = {NODE})"));
    // Somebody sends to nobody.
    root.post("backend", &["run the tests", "--from", "planner"]);
    page.until("node('backend')?.classList.contains('is-asleep') && node('planner')");
    page.until("document.querySelector('.edge[data-from=planner][data-to=backend]') && !document.querySelector('#empty:not([hidden])')");
    // A server comes and takes it, and is not done with it.
    let gate = root.queue("gate");
    let exec = format!("until [ -e {gate:?} ]; do sleep 0.05; done");
    let serve = || root.spawn(["serve", "backend", "--exec", &exec]);
    let mut server = serve();
    page.until("node('backend').classList.contains('is-awake')");
    page.eval("node('backend').dispatchEvent(new MouseEvent('click'))");
    page.until("document.querySelector('#drawer .messages')?.innerText.includes('run the tests')");
    page.until("document.querySelector('#drawer .messages .chip')?.innerText === 'taken'");
    assert_eq!(page.eval("document.querySelector('#drawer .messages bdi').innerText"), "planner");
    assert!(page.eval("location.hash").as_str().is_some_and(|hash| hash.contains("sel=mailbox%2Fbackend")));
    // It is killed; its mail stays.
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    page.until("node('backend').classList.contains('is-asleep')");
    // Another goes on.
    let mut server = serve();
    page.until(
        "node('backend').classList.contains('is-awake') && node('backend').textContent.includes('resumed, session 2')",
    );
    page.until("document.querySelector('#drawer .word').innerText.includes('session 2')");
    std::fs::write(&gate, "").expect("written");
    page.until("document.querySelector('#drawer .outcomes .chip.is-acked')");
    // The keyboard is enough.
    page.eval("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))");
    page.until("document.querySelector('#drawer').hidden");
    // Traffic lights up its way, and dots travel on it.
    let mut backend = Post::open(root.queue("post")).from("reviewer").mailbox("frontend").expect("a mailbox");
    page.until("node('frontend')");
    // One that does not say who it is is somebody all the same.
    root.post("frontend", &["from nobody"]);
    page.until("node('')?.textContent.includes('unnamed') && document.querySelector('.edge[data-from=\"\"][data-to=frontend]')");
    let lit = "document.querySelector('.edge.is-lit[data-from=reviewer][data-to=frontend]') && document.querySelector('.dot[cx]')";
    let began = std::time::Instant::now();
    while page.eval(&format!("!!({lit})")) != true {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "never lit");
        backend.send(b"more").expect("sent");
    }
    page.until("!document.querySelector('.edge.is-lit')");
    page.eval("node('frontend').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }))");
    page.until("document.querySelector('#drawer h2').innerText === 'frontend'");
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    assert_clean(&page, &web);
}

#[track_caller]
fn assert_clean(page: &Browser, web: &Server) {
    assert_eq!(page.complaints, [""; 0]);
    let ours = format!("http://{}/", web.address);
    assert!(page.requests.len() > 8 && page.requests.iter().all(|url| url.starts_with(&ours)), "{:?}", page.requests);
}

#[test]
fn what_others_wrote_is_text_and_never_markup() {
    let Some(chromium) = find() else { return };
    let root = Root::new();
    let evil = "<img src=x onerror=\"document.title='pwned'\">";
    for name in ["<script>document.title='pwned'<\u{2215}script>", "\u{202e}gnp.exe", "a&amp;b \"q\" 'r'", "ünïcödé 🦀"]
    {
        let mut mailbox = Post::open(root.queue("post")).from(evil).mailbox(name).expect("a mailbox");
        mailbox.send(b"<script>document.title='pwned'</script>").expect("sent");
        mailbox.send(b"\x1b[31m\x00\xff").expect("sent");
        mailbox.send(b"bell\x07 and \x1b[31mred").expect("sent");
    }
    Queue::create(root.queue("<b>bold<b>")).expect("a queue");
    Queue::create(root.queue("broken")).expect("a queue");
    std::fs::write(root.queue("broken").join("queue"), [0xa5; 4096]).expect("written");
    let (web, mut page) = (Server::observatory(&root, &[]), Browser::start(&chromium));
    page.size(1440, 900, false);
    page.open(&web.url);
    page.until("document.querySelectorAll('#rows tr').length === 6");
    for row in 0..6 {
        page.eval(&format!("document.querySelectorAll('#rows .open')[{row}].click()"));
        page.until("document.querySelector('#drawer .figures') || document.querySelector('#drawer .bad')");
    }
    page.eval(
        "[...document.querySelectorAll('#rows .open')].find((open) => open.innerText.includes('script')).click()",
    );
    page.until("document.querySelectorAll('#drawer .messages li').length === 3");
    let said = page.eval("document.querySelector('#drawer').innerText");
    let said = said.as_str().expect("text");
    for part in
        ["<script>document.title='pwned'</script>", evil, "1b 5b 33 31 6d 00 ff", "bell\u{2407} and \u{241b}[31mred"]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    page.eval(
        "[...document.querySelectorAll('#drawer .link')].find((link) => link.innerText.includes('onerror')).click()",
    );
    page.until("document.querySelector('#drawer h2').innerText.includes('onerror')");
    assert_eq!(page.eval("document.title"), "laneway observatory");
    assert_eq!(page.eval("document.querySelectorAll('main img, main b, body script').length"), 0);
    let broken = page.eval("document.querySelector('tr.is-unreadable .tag.bad')?.innerText");
    assert_eq!(broken, "unreadable");
    assert_clean(&page, &web);
}

#[test]
fn a_thousand_are_a_list_and_sixty_are_drawn_so_that_each_name_can_be_read() {
    let Some(chromium) = find() else { return };
    let root = Root::new();
    let post = Post::open(root.queue("post")).queue_options(Queue::options().capacity(4096).max_lanes(2));
    for number in 0..60 {
        post.clone()
            .from(format!("agent-{:03}", (number * 7) % 60))
            .mailbox(&format!("agent-{number:03}"))
            .expect("a mailbox")
            .send(b"x")
            .expect("sent");
    }
    let (web, mut page) = (Server::observatory(&root, &[]), Browser::start(&chromium));
    page.size(1440, 900, false);
    page.open(&web.url);
    page.until("document.querySelectorAll('.node').length === 60");
    // No name lies on another, and all are within the drawing.
    let overlaps = "(() => { const boxes = [...document.querySelectorAll('.node .name')].map((name) => name.getBoundingClientRect()); \
        const all = document.querySelector('#graph').getBoundingClientRect(); \
        const out = boxes.filter((b) => b.left < all.left || b.right > all.right || b.top < all.top || b.bottom > all.bottom).length; \
        return out + boxes.filter((a, i) => boxes.some((b, k) => k > i && a.left < b.right && b.left < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom)).length; })()";
    assert_eq!(page.eval(overlaps), 0);
    // Who is there keeps its place when others come.
    let places = "[...document.querySelectorAll('.node')].slice(0, 60).map((node) => [node.dataset.name, node.getAttribute('transform')]).sort().join()";
    let before = page.eval(places);
    post.mailbox("newcomer").expect("a mailbox");
    page.until("document.querySelectorAll('.node').length === 61");
    let after = page.eval(&places.replace(".slice(0, 60)", ".filter((node) => node.dataset.name !== 'newcomer')"));
    assert_eq!(before, after);
    for number in 60..1000 {
        post.mailbox(&format!("agent-{number:03}")).expect("a mailbox");
    }
    page.until("document.querySelector('#too-many:not([hidden])')?.innerText.includes('1,001 agents')");
    page.until("document.querySelector('#more:not([hidden])')?.innerText.includes('801 more') && document.querySelectorAll('#rows tr').length === 200");
    page.eval("(() => { const search = document.querySelector('#search'); search.value = 'agent-77'; search.dispatchEvent(new Event('input')); })()");
    page.until("document.querySelectorAll('.node').length === 10 && document.querySelector('#found').innerText === '10 of 1,001'");
    assert_eq!(page.eval("location.hash"), "#q=agent-77");
    assert_clean(&page, &web);
}

#[test]
fn a_lost_connection_is_said_and_found_again_with_what_was_chosen() {
    let Some(chromium) = find() else { return };
    let root = Root::new();
    root.post("backend", &["x", "--from", "planner"]);
    let (web, mut page) = (Server::observatory(&root, &[]), Browser::start(&chromium));
    // A phone, at night.
    page.size(390, 844, true);
    page.prefer("dark");
    page.open(&format!("{}#q=back&sel=mailbox%2Fbackend", web.url));
    page.until("document.querySelector('#drawer h2')?.innerText === 'backend' && document.querySelector('#search').value === 'back'");
    page.until("document.querySelector('#link').dataset.state === 'live'");
    let dark = page.eval("getComputedStyle(document.body).backgroundColor");
    page.eval("document.querySelector('#theme').click()");
    let light = page.eval("getComputedStyle(document.body).backgroundColor");
    assert_ne!(dark, light, "the switch works");
    assert_eq!(page.eval("document.documentElement.scrollWidth <= innerWidth"), true, "nothing sticks out");
    let address = web.address.clone();
    assert_clean(&page, &web);
    page.may_lose = true;
    drop(web);
    page.until("document.querySelector('#link').dataset.state === 'lost' && document.querySelector('#link').innerText.includes('lost')");
    root.post("backend", &["y", "--from", "planner"]);
    let _again = Server::observatory(&root, &["--listen", &address]);
    page.until("document.querySelector('#link').dataset.state === 'live'");
    page.until("document.querySelectorAll('#drawer .messages li').length === 2");
    assert_eq!(page.eval("document.querySelector('#search').value"), "back");
}
