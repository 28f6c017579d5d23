#!/usr/bin/env node
import { cli } from "./cli.ts"
import { runMain } from "./cli/RunMain.ts"

runMain(cli, { disableErrorReporting: true })
