// Looks at the page as a person would, in a headless Chromium: `node page.mjs BASE_URL [INGEST_URL]`.
// With INGEST_URL it sends the readings that cause an alert; without, somebody else must cause one.
// Exits 0 when all holds; otherwise 1, and says what did not. CHROMIUM names another browser than /usr/bin/chromium.

import { chromium } from "playwright-core";

const [base, ingest] = process.argv.slice(2).map((url) => url.replace(/\/$/, ""));
if (!base) {
  console.error("usage: node page.mjs BASE_URL [INGEST_URL]");
  process.exit(2);
}
const PATIENCE = 60_000;
const PROBE = "browser-probe";
const VIEWS = ["#/", "#/alerts", "#/backlog", "#/books", "#/models"];
const faults = [];
let checked = 0;

function check(holds, what) {
  checked += 1;
  if (!holds) {
    faults.push(what);
    console.error(`FAILED: ${what}`);
  }
}

/** Asks until the answer is true; says whether it became so. */
async function eventually(ask, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    if (await ask()) return true;
    if (Date.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** A page that notes whatever goes wrong on it. */
async function open(browser, options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.wrong = [];
  page.on("console", (message) => { if (message.type() === "error") page.wrong.push(`console: ${message.text()}`); });
  page.on("pageerror", (error) => page.wrong.push(`error: ${error.message}`));
  page.on("request", (request) => { if (!request.url().startsWith(`${base}/`)) page.wrong.push(`asked elsewhere: ${request.url()}`); });
  page.on("response", (response) => { if (response.status() >= 500) page.wrong.push(`${response.status()}: ${response.url()}`); });
  return page;
}

async function close(page, name) {
  check(page.wrong.length === 0, `${name}: nothing goes wrong: ${page.wrong.slice(0, 3).join("; ")}`);
  await page.context().close();
}

async function go(page, hash) {
  await page.goto(`${base}/${hash}`);
  await page.locator("main h1").waitFor({ timeout: PATIENCE });
}

/** Colors on a canvas; a blank one has one. */
const paint = (canvas) => canvas.evaluate((element) => {
  const { data } = element.getContext("2d").getImageData(0, 0, element.width, element.height);
  const colors = new Set();
  for (let at = 0; at < data.length; at += 4) colors.add((data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3]);
  return colors.size;
});

async function overviewAndChart(page) {
  await go(page, "#/");
  const links = page.locator(".device-link");
  check(await eventually(async () => (await links.count()) > 0), "the overview lists devices");
  check(await eventually(async () => /\d/.test(await page.locator(".reading").first().textContent())), "the overview shows latest values");
  check(await eventually(async () => /Balanced|Off/.test(await page.locator(".tiles").textContent())), "the overview says whether the books balance");
  const name = await links.first().textContent();
  await links.first().click();
  await page.locator("h1", { hasText: name }).waitFor();
  const canvas = page.locator(".chart canvas").first();
  await canvas.waitFor({ timeout: PATIENCE });
  check(await eventually(async () => (await paint(canvas)) > 8), "the chart is drawn");
  await page.locator(".chart").focus();
  await page.keyboard.press("End");
  check(await eventually(async () => /mean .+ values/.test(await page.locator(".readout").textContent()), 5_000), "the arrow keys read the chart");
  // A device that has just begun has one window; the next one is drawn when it comes.
  check(await eventually(async () => {
    await page.keyboard.press("End");
    const last = await page.locator(".readout").textContent();
    await page.keyboard.press("ArrowLeft");
    return (await page.locator(".readout").textContent()) !== last;
  }), "an arrow goes to the next window");
  await page.locator("summary", { hasText: "As a table" }).click();
  check(await eventually(async () => (await page.locator("details table tbody tr").count()) > 0, 5_000), "the chart has a table");
  return name;
}

/** Steady readings, then one far off: what any anomaly model must notice. */
async function provoke(round) {
  const start = Date.now() - 400_000 + round * 5_000;
  const lines = [];
  for (let i = 0; i < 300; i += 1) lines.push({ device_id: PROBE, ts: start + i * 1_000, temp: 20 + Math.sin(i * 1.7) * 0.5 });
  lines.push({ device_id: PROBE, ts: start + 300_500, temp: 5_000 + round });
  const answer = await fetch(`${ingest}/v1/readings`, {
    method: "POST", headers: { "content-type": "application/x-ndjson" }, body: lines.map((line) => JSON.stringify(line)).join("\n"),
  });
  if (!answer.ok) throw new Error(`ingest answered ${answer.status}: ${await answer.text()}`);
}

async function liveAlert(page) {
  await go(page, "#/alerts");
  await page.waitForFunction(() => document.getElementById("live").dataset.state === "open", undefined, { timeout: PATIENCE });
  await page.locator(".card table, .card .empty").first().waitFor({ timeout: PATIENCE });
  const keys = () => page.locator("[data-alert]").evaluateAll((links) => links.map((link) => link.dataset.alert));
  const before = new Set(await keys());
  await page.evaluate(() => { globalThis.neverReloaded = true; });
  let round = 0;
  let next = 0;
  const wanted = ingest ? (key) => key.startsWith(`${PROBE} `) : () => true;
  const came = await eventually(async () => {
    if (ingest && Date.now() >= next) {
      await provoke(round);
      round += 1;
      next = Date.now() + 10_000;
    }
    return (await keys()).some((key) => !before.has(key) && wanted(key));
  });
  check(came, "a new alert appears by itself");
  check(await page.evaluate(() => globalThis.neverReloaded === true), "without reloading");
  check((await page.locator("#announce").textContent()).includes("New alert"), "and is announced");
  check(!(await page.locator("body").textContent()).includes("`"), "names are set as names, not between backticks");
  check((await page.locator("tbody code").count()) > 0, "an alert names what it is about");
}

/** The partitions lie folded below their readers, and unfold. */
async function backlog(page) {
  await go(page, "#/backlog");
  const summary = page.locator(".card-details > summary", { hasText: "By partition" });
  await summary.waitFor({ timeout: PATIENCE });
  const rows = page.locator(".card-details tbody tr");
  check(await eventually(async () => (await rows.count()) > 0), "the partitions are there");
  if (!(await rows.first().isVisible())) await summary.click();
  check(await eventually(() => rows.first().isVisible(), 5_000), "the partitions unfold");
}

/** A device nobody knows, and an address that cannot be decoded, are said and not drawn. */
async function unknownDevice(page) {
  for (const hash of ["#/device/nobody-at-all", "#/device/%E0%A4%A"]) {
    await go(page, hash);
    const said = page.locator(".empty-title", { hasText: "Nothing is known of this device" });
    check(await eventually(() => said.isVisible(), 10_000), `${hash}: it is said that nothing is known`);
    check(!(await page.locator(".legend").isVisible()), `${hash}: no legend without a chart`);
  }
  // Those answers were asked for.
  page.wrong = page.wrong.filter((wrong) => !wrong.includes("404"));
}

async function keyboard(page) {
  await go(page, "#/");
  // Afresh: the walk begins where a visitor's does.
  await page.reload();
  await page.locator(".device-link").first().waitFor({ timeout: PATIENCE });
  const focused = () => page.evaluate(() => {
    const element = document.activeElement;
    const style = getComputedStyle(element);
    return { text: element.textContent.trim(), tag: element.tagName, id: element.id, visible: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
  });
  const met = [];
  for (let step = 0; step < 14; step += 1) {
    await page.keyboard.press("Tab");
    const now = await focused();
    if (now.tag === "BODY") break;
    met.push(now);
    check(now.visible, `the focus is seen on ${now.tag} “${now.text.slice(0, 30)}${now.id}”`);
  }
  const texts = met.map((element) => element.text || element.id);
  check(texts[0] === "Skip to content", "the first stop is the skip link");
  for (const name of ["Fleet", "Backlog", "Books", "theme", "search"]) check(texts.some((text) => text.startsWith(name)), `the keyboard reaches ${name}`);
  await page.locator(".skip").focus();
  await page.keyboard.press("Enter");
  check((await focused()).id === "content", "the skip link goes to the content");
  await page.locator("nav a", { hasText: "Backlog" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: "Backlog" }).waitFor();
  check(await eventually(async () => (await focused()).text === "Backlog", 5_000), "a new view has the focus on its heading");
  check((await page.locator("nav [aria-current=page]").textContent()).trim() === "Backlog", "the view is marked in the navigation");
}

/** Texts whose contrast with what lies under them is below 4.5 to 1 (3 to 1 when large), by WCAG 2.2. */
const faint = (page) => page.evaluate(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (color) => [0, 1, 2].map((at) => color[at] / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const under = (element) => {
    for (let node = element; node; node = node.parentElement) {
      const color = rgba(getComputedStyle(node).backgroundColor);
      if (color[3] === 255) return color;
    }
    return rgba("white");
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || element.closest(".hidden, .skip, .fresh, noscript")) continue;
    const style = getComputedStyle(element);
    const [one, other] = [light(rgba(style.color)), light(under(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`“${walker.currentNode.data.trim().slice(0, 24)}” ${ratio.toFixed(2)}`);
  }
  return found;
});

async function schemes(browser, device) {
  const grounds = {};
  for (const colorScheme of ["light", "dark"]) {
    const page = await open(browser, { colorScheme });
    for (const view of [...VIEWS, `#/device/${encodeURIComponent(device)}`]) {
      await go(page, view);
      await page.locator("main .card, main .verdict, main .empty").first().waitFor({ timeout: PATIENCE });
      await eventually(async () => !(await page.locator("main").textContent()).includes("Loading"), 5_000);
      const found = await faint(page);
      check(found.length === 0, `${colorScheme} ${view}: texts are readable: ${found.slice(0, 4).join(", ")}`);
    }
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    grounds[colorScheme] = await ground();
    await page.locator("#theme").click();
    const turned = await ground();
    check(turned !== grounds[colorScheme], `the ${colorScheme} theme can be switched`);
    await page.reload();
    check((await ground()) === turned, "and the choice is kept");
    await close(page, colorScheme);
  }
  check(grounds.light !== grounds.dark, "light and dark differ");
}

async function phone(browser, device) {
  const page = await open(browser, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, reducedMotion: "reduce" });
  for (const view of [...VIEWS, `#/device/${encodeURIComponent(device)}`]) {
    await go(page, view);
    await eventually(async () => !(await page.locator("main").textContent()).includes("Loading"), 5_000);
    const [width, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    check(width <= room, `${view} fits a phone: ${width} of ${room}`);
    const moving = await page.evaluate(() => document.getAnimations().filter((animation) => animation.playState === "running").length);
    check(moving === 0, `${view} stands still where motion is not wanted`);
  }
  await close(page, "phone");
}

async function failures(browser) {
  const page = await open(browser, {});
  let broken = true;
  await page.route("**/v1/lag", (route) => (broken ? route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"detail":"The processor is away."}' }) : route.continue()));
  await go(page, "#/backlog");
  const problem = page.locator(".problem[role=alert]");
  check(await eventually(async () => (await problem.count()) === 1 && (await problem.textContent()).includes("The processor is away."), 10_000), "a failure is shown in words");
  broken = false;
  await problem.locator("button").click();
  check(await eventually(async () => (await problem.count()) === 0, 10_000), "and goes away when it works again");
  // The refusals were ours.
  page.wrong = page.wrong.filter((wrong) => !wrong.includes("503"));
  await close(page, "failures");
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const page = await open(browser, {});
  const device = await overviewAndChart(page);
  await liveAlert(page);
  await backlog(page);
  await unknownDevice(page);
  await keyboard(page);
  await close(page, "desktop");
  await schemes(browser, device);
  await phone(browser, device);
  await failures(browser);
} catch (error) {
  faults.push(error.message);
  console.error(error);
} finally {
  await browser.close();
}
console.log(faults.length ? `${faults.length} of ${checked} checks failed` : `all ${checked} checks hold`);
process.exit(faults.length ? 1 : 0);
