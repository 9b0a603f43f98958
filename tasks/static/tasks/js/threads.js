// The script of the thread list.

import "./filters.js";
import "./list_cursor.js";
import "./live_list.js";
import "./selection.js";
