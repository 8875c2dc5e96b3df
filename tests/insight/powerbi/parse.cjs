// Parse the M of every partition of a folder of TMDL, and say what is wrong: a line each.
const { readdirSync, readFileSync } = require("node:fs");
const { join } = require("node:path");
const { DefaultSettings, ResultUtils, TaskUtils } = require("@microsoft/powerquery-parser");

const folder = process.argv[2];

(async () => {
  for (const file of readdirSync(folder)) {
    const [, query] = /source =\n([\s\S]*?)\n\n/.exec(readFileSync(join(folder, file), "utf8")) ?? [];
    const parsed = query && (await TaskUtils.tryLexParse(DefaultSettings, query));
    const error = parsed ? parsed.error : "there is no query";
    console.log(error ? `${file}: ${error.message ?? error}` : `${file}: parsed`);
  }
})();
