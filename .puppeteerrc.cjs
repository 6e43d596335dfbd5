/** The browser comes from @sparticuz/chromium or PUPPETEER_EXECUTABLE_PATH; puppeteer downloads none. */
module.exports = { skipDownload: true };
