import { TenfoldError } from "../errors.js";
import type { PageData } from "./data.js";

/** Id of the element that holds the data; it is empty in the page as it is built. */
export const PLACEHOLDER = "tenfold-report-data";

/** The built page with data inside. `<` is escaped in the JSON, so no text in it can end the script element. */
export function renderReport(template: string, data: PageData): string {
  const open = `<script type="application/json" id="${PLACEHOLDER}">`;
  const at = template.indexOf(open);
  const end = template.indexOf("</script>", at);
  if (at < 0 || end < 0) throw new TenfoldError(`renderReport: the page has no element ${PLACEHOLDER}`);
  return template.slice(0, at + open.length) + JSON.stringify(data).replace(/</g, "\\u003c") + template.slice(end);
}
