import { drive } from "../support/drive.mjs";

drive("nextjs", { onServer: true });
